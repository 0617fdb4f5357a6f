"""A fault that no worker logged is found in a history made by hand; and log records are written into the history."""

from __future__ import annotations

import logging
from collections.abc import Generator
from pathlib import Path

import pytest
from pydantic import JsonValue
from trellis_nats._support.log_events import LogEvent, log_fields

from tests.faults.harness.checker import check
from tests.faults.harness.dump import Dump
from tests.faults.harness.history import Entry, HistoryFile, What, read_history
from tests.faults.harness.signs import Trail, silent

SECOND = 1_000_000_000
SEEN: list[JsonValue] = [str(LogEvent.CONNECTION_LOST), str(LogEvent.CONSUMER_SILENT)]


def fault(at: float, seen: list[JsonValue] = SEEN, within: int = 5) -> Entry:
    return Entry(int(at * SECOND), 1, What.NEMESIS, "", {"fault": "cut", "seen": seen, "within": within})


def record(at: float, event: LogEvent = LogEvent.CONNECTION_LOST, what: What = What.LOGGED) -> Entry:
    return Entry(
        int(at * SECOND), 2, what, "", {"logger": "a.link", "event_name": str(event), "text": "lost"}
    )


def test_a_fault_is_seen_by_any_of_its_events() -> None:
    assert silent([fault(1), record(2)]) == []
    assert silent([fault(1), record(6, LogEvent.CONSUMER_SILENT)]) == []


@pytest.mark.parametrize(
    "other",
    [
        record(0.9),
        record(6.1),
        record(2, LogEvent.CONNECTION_RESTORED),
        record(2, what=What.ENTER),
        Entry(2 * SECOND, 2, What.LOGGED, "", {"logger": "a.link", "text": "connection_lost"}),
    ],
    ids=["before it", "too late", "another event", "not logged", "without a name"],
)
def test_a_fault_without_its_event_is_silent(other: Entry) -> None:
    assert silent(sorted([other, fault(1)], key=lambda entry: entry.at)) == [f"cut at {SECOND}"]


def test_each_fault_needs_an_event_of_its_own_time() -> None:
    assert silent([fault(1), record(2), fault(3)]) == [f"cut at {3 * SECOND}"]


def test_a_fault_without_expected_events_is_not_judged() -> None:
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
    fields = log_fields(LogEvent.CONNECTION_LOST)
    logging.getLogger("trellis_nats.some.part").info("lost: %s", "reset", extra=fields)
    runtime_log.debug("nothing for an operator")
    logging.getLogger("asyncio").warning("not of the runtime")
    history.close()

    (entry,) = read_history(history.path)
    assert entry.what is What.LOGGED
    assert entry.text("event_name") == LogEvent.CONNECTION_LOST
    assert entry.text("logger") == "trellis_nats.some.part"
    assert entry.text("level") == "INFO"
    assert entry.text("text") == "lost: reset"
