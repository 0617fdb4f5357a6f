"""How far a wall clock jumped or differs from the server's; a correct clock is never reported."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from trellis_nats.jobs.work.clock_skew import ClockSkew, difference, format_jump

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
aways = st.timedeltas(min_value=timedelta(days=-400), max_value=timedelta(days=400))
moments = st.timedeltas(min_value=timedelta(0), max_value=timedelta(seconds=10))


class Clocks:
    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.monotonic = 50.0

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def watched(self) -> ClockSkew:
        return ClockSkew("JOBS_WORK", "any", wall=lambda: self.wall, monotonic=lambda: self.monotonic)


def test_a_jump_is_reported_once_with_its_direction() -> None:
    clocks = Clocks()
    clock = clocks.watched()

    clocks.pass_time(3)
    assert clock.jump() == timedelta(0)
    clocks.wall += 3600
    clocks.pass_time(2)
    assert clock.jump() == timedelta(hours=1)
    clocks.pass_time(2)
    assert clock.jump() == timedelta(0)
    clocks.wall -= 7200
    assert clock.jump() == timedelta(hours=-2)


def test_a_correction_by_a_time_daemon_is_not_a_jump() -> None:
    clocks = Clocks()
    clock = clocks.watched()

    for _ in range(10_000):
        clocks.pass_time(1)
        clocks.wall += 0.0005  # as fast as Linux turns a clock
        assert clock.jump() == timedelta(0)


@given(away=aways, before=moments, after=moments)
def test_a_clock_is_said_to_be_wrong_by_no_more_than_it_is(
    away: timedelta, before: timedelta, after: timedelta
) -> None:
    asked, answered = NOON + away - before, NOON + away + after

    found = difference(asked, NOON, answered)

    assert abs(found) <= abs(away)
    assert found == timedelta(0) or (found > timedelta(0)) == (away > timedelta(0))
    if abs(away) >= max(before, after) + SECOND:
        assert abs(found) >= SECOND


def test_a_jump_is_written_with_its_sign() -> None:
    assert [format_jump(timedelta(seconds=s)) for s in (3600, -1)] == ["+1:00:00", "-0:00:01"]
