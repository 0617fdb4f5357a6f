"""Open jobs are collected from the events that a scan returns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from trellis_nats.jobs.maintenance.open_jobs import SCANNED_EVENTS, OpenJobs, ScannedEvent
from trellis_nats.jobs.model.states import TERMINAL_EVENTS

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def event(job_id: str, name: str, sequence: int) -> ScannedEvent:
    return ScannedEvent(job_id, name, sequence, NOON + timedelta(seconds=sequence))


def open_ids(jobs: OpenJobs) -> list[str]:
    return [event.job_id for event in jobs.opened_before(NOON + timedelta(days=1))]


def test_a_job_is_open_between_its_creation_and_its_end() -> None:
    jobs = OpenJobs(10)
    jobs.add(event("a", "created", 1))
    jobs.add(event("b", "created", 2))
    jobs.add(event("a", "completed", 3))

    assert open_ids(jobs) == ["b"]
    assert jobs.position == 3


def test_an_operators_retry_opens_a_job_again() -> None:
    jobs = OpenJobs(10)
    for sequence, name in enumerate(("created", "failed", "retried"), start=1):
        jobs.add(event("a", name, sequence))

    assert jobs.opened_before(NOON + timedelta(days=1)) == [event("a", "retried", 3)]
    assert jobs.opened_before(NOON + timedelta(seconds=2)) == [], "it was retried later than that"


def test_the_age_of_a_job_counts_from_the_event_that_opened_it() -> None:
    jobs = OpenJobs(10)
    jobs.add(event("a", "created", 1))
    jobs.add(event("b", "created", 2))

    assert [event.job_id for event in jobs.opened_before(NOON + timedelta(seconds=1))] == ["a"]


def test_the_next_scan_continues_where_the_last_one_ended() -> None:
    jobs = OpenJobs(10)
    jobs.add(event("a", "created", 7))
    jobs.rewind()

    assert jobs.position == 7
    assert open_ids(jobs) == ["a"]


def test_jobs_that_were_cleared_are_scanned_again() -> None:
    jobs = OpenJobs(2)
    jobs.add(event("a", "created", 4))
    jobs.add(event("b", "created", 5))
    assert jobs.is_full
    jobs.clear()
    assert open_ids(jobs) == []
    jobs.add(event("c", "created", 6))
    jobs.rewind()

    assert jobs.position == 3
    assert open_ids(jobs) == [], "all are scanned again"


def test_a_cleared_job_that_had_ended_is_not_scanned_again() -> None:
    jobs = OpenJobs(2)
    jobs.add(event("a", "created", 4))
    jobs.add(event("b", "created", 5))
    jobs.remove("a")
    jobs.clear()
    jobs.rewind()

    assert jobs.position == 4


def histories() -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(SCANNED_EVENTS)), max_size=40)


@given(histories(), st.integers(min_value=1, max_value=4))
def test_no_limit_makes_a_scan_miss_an_open_job(history: list[tuple[str, str]], limit: int) -> None:
    """Whatever the limit is, every open job is seen in each full scan."""
    wanted: dict[str, bool] = {}
    for job_id, name in history:
        wanted[job_id] = name not in TERMINAL_EVENTS
    jobs = OpenJobs(limit)
    seen: set[str] = set()

    for _ in range(2):
        seen.clear()
        for sequence, (job_id, name) in enumerate(history, start=1):
            if sequence > jobs.position:
                jobs.add(event(job_id, name, sequence))
            if jobs.is_full:
                seen |= set(open_ids(jobs))
                jobs.clear()
        seen |= set(open_ids(jobs))
        jobs.rewind()

    assert seen >= {job_id for job_id, is_open in wanted.items() if is_open}
