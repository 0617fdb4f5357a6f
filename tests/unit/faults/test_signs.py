"""A fault that nobody was told of is found, in histories made by hand; and what is logged comes into the history."""

from __future__ import annotations

import logging
from collections.abc import Generator
from pathlib import Path

import pytest
from pydantic import JsonValue

from tests.faults.harness.checker import check
from tests.faults.harness.dump import Dump
from tests.faults.harness.history import Entry, HistoryFile, What, read_history
from tests.faults.harness.signs import Sign, Trail, silent

SECOND = 1_000_000_000
SEEN: list[JsonValue] = [["a.link", "^lost: .* reset$"], ["a.pull", "no answer"]]


def fault(at: float, seen: list[JsonValue] = SEEN, within: int = 5) -> Entry:
    return Entry(int(at * SECOND), 1, What.NEMESIS, "", {"fault": "cut", "seen": seen, "within": within})


def line(at: float, logger: str = "a.link", text: str = "lost: connection reset") -> Entry:
    return Entry(int(at * SECOND), 2, What.LOGGED, "", {"logger": logger, "level": "INFO", "text": text})


def test_a_fault_is_seen_by_any_of_its_signs() -> None:
    assert silent([fault(1), line(2)]) == []
    assert silent([fault(1), line(6, "a.pull", "there is no answer to the pull")]) == []


@pytest.mark.parametrize(
    "other",
    [
        line(0.9),
        line(6.1),
        line(2, logger="another"),
        line(2, text="the connection was lost: reset"),
        Entry(2 * SECOND, 2, What.ENTER, "", {"logger": "a.link", "text": "lost: connection reset"}),
    ],
    ids=["before it", "too late", "of another logger", "another text", "not logged"],
)
def test_a_fault_without_its_sign_is_silent(other: Entry) -> None:
    assert silent(sorted([other, fault(1)], key=lambda entry: entry.at)) == [f"cut at {SECOND}"]


def test_each_fault_needs_a_sign_of_its_own_time() -> None:
    assert silent([fault(1), line(2), fault(3)]) == [f"cut at {3 * SECOND}"]


def test_a_fault_that_has_no_sign_is_not_judged() -> None:
    assert silent([fault(1, seen=[]), Entry(SECOND, 1, What.NEMESIS, "", {"fault": "cut"})]) == []


def test_a_silent_fault_is_a_violation_of_the_verdict() -> None:
    verdict = check([fault(1)], Dump(()))

    assert verdict.violations() == {"silent": (f"cut at {SECOND}",)}
    assert not verdict.is_clean


@pytest.fixture
def runtime_log() -> Generator[logging.Logger]:
    logger = logging.getLogger("trellis_nats")
    level, handlers = logger.level, list(logger.handlers)
    yield logger
    logger.setLevel(level)
    logger.handlers[:] = handlers


def test_what_the_runtime_logs_is_in_the_history(tmp_path: Path, runtime_log: logging.Logger) -> None:
    history = HistoryFile(tmp_path / "history.jsonl")
    Trail(history).follow()
    logging.getLogger("trellis_nats.some.part").info("lost: %s", "reset")
    runtime_log.debug("nothing for an operator")
    logging.getLogger("asyncio").warning("not of the runtime")
    history.close()

    (entry,) = read_history(history.path)
    assert entry.what is What.LOGGED
    assert Sign("trellis_nats.some.part", "^lost: reset$").is_in(entry)
    assert entry.text("level") == "INFO"
