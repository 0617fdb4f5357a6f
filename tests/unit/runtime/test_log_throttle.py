"""Repeated log lines are written once per interval, with a count."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from trellis_nats._support.log_throttle import LogThrottle

LOG = logging.getLogger("trellis_nats._support.log_throttle.test")


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_one_line_of_a_kind_each_second_counts_the_others(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    log_throttle = LogThrottle(LOG, clock=clock)

    for number in range(50):
        log_throttle.write(logging.WARNING, "put back", "job %d is put back", number)
    clock.at += 0.9
    log_throttle.write(logging.WARNING, "put back", "job %d is put back", 50)
    clock.at += 0.2
    log_throttle.write(logging.WARNING, "put back", "job %d is put back", 51)
    clock.at += 2
    log_throttle.write(logging.WARNING, "put back", "job %d is put back", 52)

    assert lines(caplog) == [
        "job 0 is put back",
        "job 51 is put back (and 50 more since the last such line)",
        "job 52 is put back",
    ]


def test_what_is_left_out_can_be_seen_by_who_wants_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log_throttle = LogThrottle(LOG, every=timedelta(hours=1))

    for number in range(3):
        log_throttle.write(logging.ERROR, "", "job %d", number)

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "job 0"),
        ("DEBUG", "job 1"),
        ("DEBUG", "job 2"),
    ]


def test_kinds_do_not_silence_each_other(caplog: pytest.LogCaptureFixture) -> None:
    log_throttle = LogThrottle(LOG, every=timedelta(hours=1))

    for kind in ("one", "two", "one", "two"):
        log_throttle.write(logging.WARNING, kind, "%s", kind)

    assert lines(caplog) == ["one", "two"]


def test_no_more_kinds_are_remembered_than_a_few_hundred(caplog: pytest.LogCaptureFixture) -> None:
    log_throttle = LogThrottle(LOG, every=timedelta(hours=1))

    for number in range(1000):
        log_throttle.write(logging.WARNING, f"kind {number}", "again")
    log_throttle.write(logging.WARNING, "kind 999", "again")
    log_throttle.write(logging.WARNING, "kind 0", "again")

    assert len(lines(caplog)) == 1001, "the newest is known, the oldest is forgotten"
