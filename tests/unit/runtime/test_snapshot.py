"""A job as it stands, from the newest event of each type."""

from datetime import UTC, datetime, timedelta

from pydantic import JsonValue
from trellis_nats.codec import Codec, encode_json
from trellis_nats.context import new_context
from trellis_nats.jobs.model.event import JobProgress, LifecycleEvent, NewEvent, StoredEvent
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.outcome import Completed, Raised, settle
from trellis_nats.jobs.model.snapshot import JobSnapshot, snapshot_of
from trellis_nats.jobs.model.states import EventType, JobState

from tests.support.payload_readers import reader_of

AT = datetime(2026, 7, 1, 10, tzinfo=UTC)
JOB = JobIdentity(job_id="J1", service="s", queue="q", context=new_context())
JSON = Codec[JsonValue](JsonValue, what="a value")


def created() -> LifecycleEvent:
    return JOB.created(
        encode_json({"n": 1}), max_tries=3, deadline=None, trigger=None, lineage=None, at=AT
    ).read()


def retry(tries: int) -> NewEvent:
    settlement = settle(Raised("boom"), tries=tries, max_attempts=3, backoff=())
    return JOB.settled(settlement, EventType.RETRY, result=None, at=AT)


def completed(tries: int, at: datetime = AT) -> NewEvent:
    settlement = settle(Completed(b"7"), tries=tries, max_attempts=3, backoff=())
    return JOB.settled(settlement, EventType.COMPLETED, result=b"7", at=at)


def snapshot(*events: LifecycleEvent | NewEvent) -> JobSnapshot[JsonValue, JsonValue] | None:
    read = (event.read() if isinstance(event, NewEvent) else event for event in events)
    stored = [StoredEvent(event, sequence, None) for sequence, event in enumerate(read, start=10)]
    return snapshot_of(stored, payloads=reader_of(JSON), result=JSON)


def test_a_job_that_was_never_created_is_none() -> None:
    assert snapshot() is None


def test_a_pending_job_has_its_payload_and_no_attempt() -> None:
    found = snapshot(created())

    assert found is not None
    assert (found.state, found.payload, found.tries, found.max_tries) == (JobState.PENDING, {"n": 1}, 0, 3)
    assert (found.started_at, found.ended_at, found.is_terminal) == (None, None, False)


def test_a_completed_job_has_its_result_and_its_times() -> None:
    found = snapshot(
        created(),
        retry(1),
        JOB.started(previous=JobState.RETRY, tries=2, instance_id="w1", at=AT + timedelta(seconds=5)),
        JOB.progress(JobProgress(step="half"), tries=2, at=AT),
        completed(2, AT + timedelta(seconds=9)),
    )

    assert found is not None
    assert found.state is JobState.COMPLETED
    assert found.result == 7
    assert found.tries == 2
    assert found.progress is not None
    assert found.progress.step == "half"
    assert found.started_at == AT + timedelta(seconds=5)
    assert found.ended_at == AT + timedelta(seconds=9)


def test_a_job_that_waits_for_its_next_attempt_has_the_last_error() -> None:
    found = snapshot(
        created(), JOB.started(previous=JobState.PENDING, tries=1, instance_id="w1", at=AT), retry(1)
    )

    assert found is not None
    assert (found.state, found.last_error, found.tries) == (JobState.RETRY, "boom", 1)


def test_the_first_ending_counts_where_the_server_stored_a_second_one() -> None:
    """Servers before 2.11 do not refuse the second writer."""
    cancelled = JOB.ended(
        EventType.CANCELLED, previous=JobState.ACTIVE, tries=1, error="no longer wanted", at=AT
    )

    found = snapshot(
        created(),
        JOB.started(previous=JobState.PENDING, tries=1, instance_id="w1", at=AT),
        cancelled,
        completed(1),
    )

    assert found is not None
    assert found.state is JobState.CANCELLED
    assert found.result is None


def test_a_dead_job_may_be_dismissed() -> None:
    dead = JOB.ended(EventType.DEAD, previous=JobState.ACTIVE, tries=3, error="boom", at=AT)
    dismissed = JOB.ended(EventType.DISMISSED, previous=JobState.DEAD, tries=3, error="known", at=AT)

    found = snapshot(created(), dead, dismissed)

    assert found is not None
    assert (found.state, found.last_error) == (JobState.DISMISSED, "known")


def test_an_operators_retry_opens_a_job_again() -> None:
    failed = JOB.ended(EventType.FAILED, previous=JobState.ACTIVE, tries=1, error="declined", at=AT)
    body = created().model_dump(by_alias=True, exclude_unset=True) | {
        "eventType": "retried",
        "payload": {"n": 2},
    }
    retried = LifecycleEvent.model_validate(body)

    found = snapshot(created(), failed, retried)

    assert found is not None
    assert (found.state, found.payload, found.last_error) == (JobState.PENDING, {"n": 2}, None)
