"""Every event, field by field, as in the tables and examples of the reference."""

import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from trellis_nats.codec import encode_json
from trellis_nats.context import Context
from trellis_nats.jobs.model.event import JobLogEntry, JobProgress, LifecycleEvent, NewEvent
from trellis_nats.jobs.model.event_factory import ERROR_BYTES_MAX, JobIdentity, shorten
from trellis_nats.jobs.model.outcome import Completed, Failed, Raised, Released, settle
from trellis_nats.jobs.model.states import EventType, JobState

AT = datetime(2026, 7, 1, 10, 0, 0, 5_000, tzinfo=UTC)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CONTEXT = Context(
    request_id="01JZ0000000000000000000001", trace_id=TRACE, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01"
)
JOB = JobIdentity(
    job_id="01JZ0000000000000000000000", service="tr_jobs_ns", queue="processDocument", context=CONTEXT
)
COMMON = {
    "jobId": "01JZ0000000000000000000000",
    "service": "tr_jobs_ns",
    "jobType": "processDocument",
    "context": {
        "requestId": "01JZ0000000000000000000001",
        "traceId": TRACE,
        "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
    },
    "timestamp": "2026-07-01T10:00:00.005Z",
}


def written(event: LifecycleEvent | NewEvent) -> object:
    return json.loads(event.encode())


def test_created_is_written_as_in_the_worked_example() -> None:
    event = JOB.created(
        encode_json({"documentId": "d1"}),
        max_tries=5,
        deadline=AT + timedelta(minutes=1),
        trigger=None,
        lineage=None,
        at=AT,
    )

    assert written(event) == COMMON | {
        "eventType": "created",
        "state": "pending",
        "tries": 0,
        "maxTries": 5,
        "payload": {"documentId": "d1"},
        "deadline": "2026-07-01T10:01:00.005Z",
    }


def test_a_child_job_names_its_parent() -> None:
    event = JOB.created(
        encode_json({}),
        max_tries=5,
        deadline=None,
        trigger={"kind": "parentJob", "parentJobId": "P"},
        lineage={"parentJobId": "P", "rootJobId": "R"},
        at=AT,
    ).read()

    assert event.trigger == {"kind": "parentJob", "parentJobId": "P"}
    assert event.lineage == {"parentJobId": "P", "rootJobId": "R"}
    assert "deadline" not in event.model_fields_set


def test_started_carries_the_state_before_it() -> None:
    assert written(JOB.started(previous=JobState.RETRY, tries=2, instance_id="w1", at=AT)) == COMMON | {
        "eventType": "started",
        "state": "active",
        "previousState": "retry",
        "tries": 2,
        "worker": {"instanceId": "w1"},
    }


def test_progress_and_log_lines_leave_the_job_active() -> None:
    progress = JOB.progress(JobProgress(step="parse", current=1, total=3), tries=1, at=AT)
    logged = JOB.logged(
        JobLogEntry(timestamp="2026-07-01T10:00:00.005Z", level="info", message="half way"), tries=1, at=AT
    )
    active = {"state": "active", "previousState": "active", "tries": 1}

    assert written(progress) == COMMON | active | {
        "eventType": "progress",
        "progress": {"step": "parse", "current": 1, "total": 3},
    }
    assert written(logged) == COMMON | active | {
        "eventType": "logged",
        "logs": [{"timestamp": "2026-07-01T10:00:00.005Z", "level": "info", "message": "half way"}],
    }


def test_whole_numbers_are_written_without_a_fraction() -> None:
    """A runtime that reads them as integers refuses `1.0` (reference, 6.3)."""
    progress = JOB.progress(JobProgress(current=1, total=3), tries=1, at=AT)

    assert b'"progress":{"current":1,"total":3}' in progress.encode()


def test_the_end_of_an_attempt_carries_its_result_or_its_error() -> None:
    completed = settle(Completed(b'{"ok":true}'), tries=1, max_attempts=5, backoff=())
    failed = settle(Failed("declined"), tries=1, max_attempts=5, backoff=())
    retry = settle(Raised("boom"), tries=1, max_attempts=5, backoff=())
    released = settle(Released(), tries=1, max_attempts=5, backoff=())

    assert written(JOB.settled(completed, EventType.COMPLETED, result=b'{"ok":true}', at=AT)) == COMMON | {
        "eventType": "completed",
        "state": "completed",
        "previousState": "active",
        "tries": 1,
        "result": {"ok": True},
    }
    assert written(JOB.settled(failed, EventType.FAILED, result=None, at=AT)) == COMMON | {
        "eventType": "failed",
        "state": "failed",
        "previousState": "active",
        "tries": 1,
        "error": "declined",
    }
    assert written(JOB.settled(retry, EventType.RETRY, result=None, at=AT)) == COMMON | {
        "eventType": "retry",
        "state": "retry",
        "previousState": "active",
        "tries": 1,
        "error": "boom",
    }
    assert JOB.settled(released, EventType.RETRY, result=None, at=AT).read().tries == 0, (
        "a release gives the try back"
    )


def test_what_is_read_and_written_again_is_the_same_text() -> None:
    keyed: dict[str, JsonValue] = {"concurrency": {"key": "k"}, "queuePolicy": {"whenFull": "reject"}}
    created = JOB.created(
        encode_json({"b": 1, "a": 2}),
        max_tries=5,
        deadline=AT + timedelta(minutes=1),
        not_before=AT,
        trigger={"kind": "serviceCode"},
        lineage={"rootJobId": "R"},
        at=AT,
    )
    started = JOB.started(previous=JobState.RETRY, tries=2, instance_id="w1", at=AT, keyed=keyed)
    completed = settle(Completed(b"1"), tries=1, max_attempts=5, backoff=())
    ended = JOB.settled(completed, EventType.COMPLETED, result=b"1", at=AT, keyed=keyed)
    failed = settle(Failed("declined"), tries=1, max_attempts=5, backoff=())
    lost = JOB.settled(failed, EventType.FAILED, result=None, at=AT, keyed=keyed)

    for event in (created, started, ended, lost):
        assert event.read().encode() == event.encode()


def test_what_other_runtimes_write_is_read() -> None:
    """Rust writes up to nine fractional digits and null results; newer runtimes add fields."""
    body = COMMON | {
        "eventType": "completed",
        "state": "completed",
        "previousState": "active",
        "tries": 1,
        "result": None,
        "timestamp": "2026-07-01T10:00:00.123456789Z",
        "waitEdge": {"id": "x"},
    }

    event = LifecycleEvent.parse(json.dumps(body).encode())

    assert event is not None
    assert event.is_terminal
    assert written(event) == body, "unknown fields are kept"


@pytest.mark.parametrize("value", [math.nan, {"deep": [math.inf]}, -math.inf])
def test_a_number_that_json_does_not_have_is_refused(value: JsonValue) -> None:
    """As a payload or a result it never becomes text, and in any other member the event is not written."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_json(value)
    event = JOB.created(encode_json({}), max_tries=5, deadline=None, trigger=value, lineage=None, at=AT)

    with pytest.raises(ValueError, match="not JSON compliant"):
        event.encode()


def test_the_names_of_such_numbers_are_words_like_others() -> None:
    payload: JsonValue = {"NaN": "Infinity", "-Infinity": ["é\u2028"]}
    event = JOB.created(encode_json(payload), max_tries=5, deadline=None, trigger=None, lineage=None, at=AT)

    assert json.loads(event.encode())["payload"] == payload


def test_what_is_not_an_event_is_none() -> None:
    for data in (b"", b"null", b"[]", b"{}", b"\xff", b'{"jobId":1}', b"[" * 100_000):
        assert LifecycleEvent.parse(data) is None


@given(st.text(max_size=3 * ERROR_BYTES_MAX))
def test_an_error_text_is_bounded_and_free_of_control_characters(text: str) -> None:
    kept = shorten(text)

    assert len(kept.encode()) <= ERROR_BYTES_MAX + len(" …".encode())
    assert all(character.isprintable() or character in "\n\t" for character in kept)
