"""Which jobs are open, by the events that a listing shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from trellis_nats.jobs.maintenance.open_jobs import SCANNED, OpenJobs, Seed
from trellis_nats.jobs.model.states import TERMINAL_EVENTS

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def event(job_id: str, name: str, sequence: int) -> Seed:
    return Seed(job_id, name, sequence, NOON + timedelta(seconds=sequence))


def open_ids(jobs: OpenJobs) -> list[str]:
    return [seed.job_id for seed in jobs.older_than(NOON + timedelta(days=1))]


def test_a_job_is_open_between_its_creation_and_its_end() -> None:
    jobs = OpenJobs(10)
    jobs.see(event("a", "created", 1))
    jobs.see(event("b", "created", 2))
    jobs.see(event("a", "completed", 3))

    assert open_ids(jobs) == ["b"]
    assert jobs.position == 3


def test_a_job_that_was_sent_again_is_open_by_that_event() -> None:
    jobs = OpenJobs(10)
    for sequence, name in enumerate(("created", "failed", "retried"), start=1):
        jobs.see(event("a", name, sequence))

    assert jobs.older_than(NOON + timedelta(days=1)) == [event("a", "retried", 3)]
    assert jobs.older_than(NOON + timedelta(seconds=2)) == [], "it was sent again later than that"


def test_an_age_is_counted_to_the_second_of_the_seed() -> None:
    jobs = OpenJobs(10)
    jobs.see(event("a", "created", 1))
    jobs.see(event("b", "created", 2))

    assert [seed.job_id for seed in jobs.older_than(NOON + timedelta(seconds=1))] == ["a"]


def test_the_next_reading_goes_on_where_the_last_one_ended() -> None:
    jobs = OpenJobs(10)
    jobs.see(event("a", "created", 7))
    jobs.rewind()

    assert jobs.position == 7
    assert open_ids(jobs) == ["a"]


def test_jobs_that_had_to_be_forgotten_are_read_again() -> None:
    jobs = OpenJobs(2)
    jobs.see(event("a", "created", 4))
    jobs.see(event("b", "created", 5))
    assert jobs.is_full
    jobs.make_room()
    assert open_ids(jobs) == []
    jobs.see(event("c", "created", 6))
    jobs.rewind()

    assert jobs.position == 3
    assert open_ids(jobs) == [], "they all come again"


def test_a_forgotten_job_that_had_ended_is_not_read_again() -> None:
    jobs = OpenJobs(2)
    jobs.see(event("a", "created", 4))
    jobs.see(event("b", "created", 5))
    jobs.drop("a")
    jobs.make_room()
    jobs.rewind()

    assert jobs.position == 4


def histories() -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(SCANNED)), max_size=40)


@given(histories(), st.integers(min_value=1, max_value=4))
def test_reading_in_any_portions_misses_no_open_job(history: list[tuple[str, str]], limit: int) -> None:
    """However little is remembered: every job that is open is seen open in each full reading."""
    wanted: dict[str, bool] = {}
    for job_id, name in history:
        wanted[job_id] = name not in TERMINAL_EVENTS
    jobs = OpenJobs(limit)
    seen: set[str] = set()

    for _ in range(2):
        seen.clear()
        for sequence, (job_id, name) in enumerate(history, start=1):
            if sequence > jobs.position:
                jobs.see(event(job_id, name, sequence))
            if jobs.is_full:
                seen |= set(open_ids(jobs))
                jobs.make_room()
        seen |= set(open_ids(jobs))
        jobs.rewind()

    assert seen >= {job_id for job_id, is_open in wanted.items() if is_open}
