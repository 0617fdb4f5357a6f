"""The job's history decides about a work message, never the message alone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_nats.clock import later, timestamp
from trellis_nats.codec import encode_json
from trellis_nats.context import new_context
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.states import TERMINAL_EVENTS, EventType, JobState
from trellis_nats.jobs.model.triage import (
    Exhausted,
    Finished,
    Overdue,
    Start,
    TooEarly,
    time_to_retry,
    triage,
)

AT = datetime(2026, 7, 1, 10, tzinfo=UTC)
JOB = JobIdentity(job_id="J1", service="orders-service", queue="charge-payment", context=new_context())
CREATED = JOB.created(
    encode_json({"a": 1}), max_tries=3, deadline=None, trigger=None, lineage=None, at=AT
).read()


def event(kind: EventType, state: JobState, tries: int, **extra: object) -> LifecycleEvent:
    body = {
        **CREATED.model_dump(by_alias=True, exclude_unset=True),
        "eventType": kind.value,
        "state": state.value,
        "tries": tries,
        **extra,
    }
    return LifecycleEvent.model_validate(body)


def test_a_fresh_job_starts_its_first_attempt() -> None:
    assert triage(CREATED, CREATED, max_attempts=5, at=AT) == Start(JobState.PENDING, 1)


def test_a_retry_continues_where_the_history_stands() -> None:
    newest = event(EventType.RETRY, JobState.RETRY, 1)

    assert triage(CREATED, newest, max_attempts=5, at=AT) == Start(JobState.RETRY, 2)


def test_an_attempt_that_died_with_its_worker_counts() -> None:
    newest = event(EventType.PROGRESS, JobState.ACTIVE, 2)

    assert triage(CREATED, newest, max_attempts=5, at=AT) == Start(JobState.ACTIVE, 3)


def test_a_released_attempt_runs_again_under_the_same_number() -> None:
    newest = event(EventType.RETRY, JobState.RETRY, 0)

    assert triage(CREATED, newest, max_attempts=5, at=AT) == Start(JobState.RETRY, 1)


def test_a_job_whose_last_worker_died_is_dead() -> None:
    newest = event(EventType.STARTED, JobState.ACTIVE, 3)

    decided = triage(CREATED, newest, max_attempts=3, at=AT)

    assert decided == Exhausted(JobState.ACTIVE, 3, "every attempt failed (3 of 3): its worker died")


@pytest.mark.parametrize("ending", sorted(TERMINAL_EVENTS))
def test_a_finished_job_never_runs_again(ending: EventType) -> None:
    newest = event(ending, JobState(ending.value), 1)

    assert triage(CREATED, newest, max_attempts=5, at=AT) == Finished()


def test_an_ignored_completion_does_not_end_a_job_whatever_its_state_says() -> None:
    newest = event(EventType.STALE_COMPLETION_IGNORED, JobState.STALE, 1)

    assert triage(CREATED, newest, max_attempts=5, at=AT) == Start(JobState.ACTIVE, 2)


def test_a_message_older_than_an_operators_retry_is_dropped() -> None:
    retried = event(EventType.RETRIED, JobState.PENDING, 0, timestamp=timestamp(AT + timedelta(hours=1)))

    assert triage(CREATED, retried, max_attempts=5, at=AT) == Finished()
    assert triage(retried, retried, max_attempts=5, at=AT) == Start(JobState.PENDING, 1)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3650)))
def test_a_job_past_its_deadline_expires(late: timedelta) -> None:
    work = event(EventType.CREATED, JobState.PENDING, 0, deadline=timestamp(AT))

    assert triage(work, work, max_attempts=5, at=AT + late) == Overdue(JobState.PENDING, 0)
    assert triage(work, work, max_attempts=5, at=AT - timedelta(seconds=1)) == Start(JobState.PENDING, 1)


def waiting(seconds: float) -> LifecycleEvent:
    not_before = timestamp(later(AT, timedelta(seconds=seconds)))
    return event(EventType.RETRY, JobState.RETRY, 1, notBefore=not_before)


@pytest.mark.parametrize("skew", [timedelta(0), timedelta(minutes=10), -timedelta(minutes=10)], ids=str)
def test_a_retry_waits_by_the_servers_clock_whatever_the_others_say(skew: timedelta) -> None:
    stored_at = AT + skew
    wait = time_to_retry(waiting(60), stored_at=stored_at, server_time=stored_at + timedelta(seconds=45))

    assert wait == timedelta(seconds=15)
    assert triage(CREATED, waiting(60), max_attempts=5, at=AT, retry_in=wait) == TooEarly(wait)
    assert triage(CREATED, waiting(60), max_attempts=5, at=AT, retry_in=-wait) == Start(JobState.RETRY, 2)


def test_an_event_that_names_no_wait_waits_for_nothing() -> None:
    plain = event(EventType.RETRY, JobState.RETRY, 1)
    started = event(EventType.STARTED, JobState.ACTIVE, 1, notBefore="2026-07-01T11:00:00.000Z")

    assert time_to_retry(plain, stored_at=AT, server_time=AT) == timedelta(0)
    assert time_to_retry(started, stored_at=AT, server_time=AT) == timedelta(0)
    assert time_to_retry(waiting(60), stored_at=None, server_time=AT) == timedelta(0)


@pytest.mark.parametrize("not_before", ["soon", "2026-07-01T09:00:00.000Z", None])
def test_a_wait_that_cannot_be_read_or_is_over_is_none(not_before: str | None) -> None:
    assert event(EventType.RETRY, JobState.RETRY, 1, notBefore=not_before).wait == timedelta(0)
