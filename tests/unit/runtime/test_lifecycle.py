"""The reducer: illegal events change nothing, terminal is final, replay gives the same job."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_nats.clock import timestamp
from trellis_nats.codec import json_text
from trellis_nats.context import new_context
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.lifecycle import JobLife, apply
from trellis_nats.jobs.model.states import TERMINAL_STATES, EventType, JobState

AT = datetime(2026, 7, 1, 10, tzinfo=UTC)
JOB = JobIdentity(job_id="J1", service="s", queue="q", context=new_context())
CREATED = JOB.created(
    json_text({"n": 1}), max_tries=3, deadline=None, trigger=None, lineage=None, at=AT
).read()
STATE_AFTER = {
    EventType.CREATED: JobState.PENDING,
    EventType.RETRIED: JobState.PENDING,
    EventType.RETRY: JobState.RETRY,
    EventType.STALE_COMPLETION_IGNORED: JobState.ACTIVE,
}

# What may follow what, written down a second time from the reference's table (8.1), the other way round.
MAY_FOLLOW = {
    JobState.PENDING: "started cancelled expired skipped",
    JobState.RETRY: "started cancelled expired skipped dead",
    JobState.ACTIVE: (
        "started retry progress logged completed failed stale heartbeat staleCompletionIgnored waiting resumed"
        " cancelled expired dead"
    ),
    JobState.FAILED: "retried dead",
    JobState.EXPIRED: "dead",
    JobState.DEAD: "retried dismissed",
}


def replay(events: Iterable[LifecycleEvent]) -> JobLife | None:
    """Return the job that a history makes; None when it was never created."""
    return reduce(apply, events, None)


def event(kind: EventType, *, previous: JobState | None, tries: int = 1, after: int = 1) -> LifecycleEvent:
    state = STATE_AFTER.get(kind)
    if state is None:
        state = JobState(kind.value) if kind.value in set(JobState) else JobState.ACTIVE
    fields = CREATED.model_dump(by_alias=True, exclude_unset=True) | {
        "eventType": kind.value,
        "state": state.value,
        "tries": tries,
        "timestamp": timestamp(AT + timedelta(seconds=after)),
    }
    if previous is not None:
        fields["previousState"] = previous.value
    return LifecycleEvent.model_validate(fields)


def in_state(state: JobState) -> JobLife:
    job = apply(None, CREATED)
    assert job is not None
    path = {
        JobState.PENDING: [],
        JobState.ACTIVE: [EventType.STARTED],
        JobState.RETRY: [EventType.STARTED, EventType.RETRY],
        JobState.SKIPPED: [EventType.SKIPPED],
        JobState.DISMISSED: [EventType.STARTED, EventType.DEAD, EventType.DISMISSED],
    }.get(state, [EventType.STARTED, EventType(state.value)] if state in TERMINAL_STATES else [])
    for kind in path:
        job = apply(job, event(kind, previous=job.state))
        assert job is not None
    assert job.state is state
    return job


events = st.builds(
    event,
    st.sampled_from(EventType),
    previous=st.none() | st.sampled_from(JobState),
    tries=st.integers(0, 5),
    after=st.integers(0, 10),
)


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("kind", EventType)
def test_an_event_is_legal_exactly_where_the_table_says(state: JobState, kind: EventType) -> None:
    job = in_state(state)

    after = apply(job, event(kind, previous=state, after=5))

    assert (after is not job) == (kind.value in MAY_FOLLOW.get(state, "").split())


@pytest.mark.parametrize("state", JobState)
@given(wrong=st.sampled_from(JobState), kind=st.sampled_from(EventType))
def test_an_event_that_believes_in_another_state_changes_nothing(
    state: JobState, wrong: JobState, kind: EventType
) -> None:
    job = in_state(state)

    if wrong is not state:
        assert apply(job, event(kind, previous=wrong)) is job


@given(st.lists(events, max_size=30))
def test_only_an_operator_opens_an_ended_job_again(history: list[LifecycleEvent]) -> None:
    job: JobLife | None = None
    for each in history:
        before, job = job, apply(job, each)
        if before is None or job is None or before.state not in TERMINAL_STATES:
            continue
        assert job.state in TERMINAL_STATES or each.event_type == EventType.RETRIED
        assert job.result == before.result or each.event_type == EventType.RETRIED


@given(st.lists(events, max_size=30))
def test_replaying_a_history_gives_the_same_job(history: list[LifecycleEvent]) -> None:
    step: JobLife | None = None
    for each in history:
        step = apply(step, each)

    assert replay(history) == step


@given(st.lists(events, max_size=20))
def test_a_repeated_ending_changes_nothing(history: list[LifecycleEvent]) -> None:
    job = replay(history)

    if job is not None and job.state in {JobState.COMPLETED, JobState.CANCELLED, JobState.SKIPPED}:
        assert all(apply(job, each) is job for each in history)


def test_an_event_of_another_job_changes_nothing() -> None:
    job = apply(None, CREATED)
    other = event(EventType.STARTED, previous=JobState.PENDING).model_copy(update={"job_id": "J2"})

    assert apply(job, other) is job


def test_the_effects_are_those_of_the_reference() -> None:
    failed = event(EventType.FAILED, previous=JobState.ACTIVE, after=3).model_copy(
        update={"error": "declined"}
    )
    retried = event(EventType.RETRIED, previous=JobState.FAILED, tries=0, after=4)

    ended = replay([CREATED, event(EventType.STARTED, previous=JobState.PENDING, after=2), failed])
    again = replay([CREATED, event(EventType.STARTED, previous=JobState.PENDING, after=2), failed, retried])

    assert ended is not None
    assert (ended.last_error, ended.completed_at, ended.started_at) == (
        "declined",
        timestamp(AT + timedelta(seconds=3)),
        timestamp(AT + timedelta(seconds=2)),
    )
    assert again is not None
    assert (again.state, again.tries, again.last_error, again.completed_at, again.started_at) == (
        JobState.PENDING,
        0,
        None,
        None,
        None,
    )
