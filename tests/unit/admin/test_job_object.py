"""The form in which the admin RPCs return a job."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from pydantic import JsonValue
from trellis_admin.payloads import Revealed, RevealedValue
from trellis_admin.rpc.job_object import WIRE_STATES, states_named, to_job
from trellis_admin.rpc.trellis_jobs_participant import Job
from trellis_nats.codec import Codec
from trellis_nats.jobs.model.event import JobLogEntry, LifecycleEvent, StoredEvent
from trellis_nats.jobs.model.states import EventType, JobState

from tests.support.foreign_events import foreign_body

JOB: Final = "01M8KT1SQRNGY82PMCC50CW60P"
STATES_OF_THE_WIRE: Final = {
    "pending",
    "active",
    "retry",
    "completed",
    "failed",
    "cancelled",
    "expired",
    "dead",
    "dismissed",
}


def stored(kinds: str, **fields: dict[str, JsonValue]) -> list[StoredEvent]:
    """Return the newest event of each type, as a history of these types leaves them; `fields` are by type."""
    newest: dict[str, StoredEvent] = {}
    for at, kind in enumerate(kinds.split()):
        body = foreign_body(
            EventType(kind), JOB, {"timestamp": f"2026-11-29T14:00:{at:02}.000Z"} | fields.get(kind, {})
        )
        newest[kind] = StoredEvent(LifecycleEvent.model_validate(body), at + 1, None)
    return sorted(newest.values(), key=lambda event: event.sequence)


def wire(kinds: str, **fields: dict[str, JsonValue]) -> dict[str, Any]:
    job = to_job(stored(kinds, **fields))
    assert job is not None
    return dict(job.model_dump(mode="json", by_alias=True))


def revealed(payload: JsonValue, result: bytes | None = None) -> Revealed:
    return Revealed(
        payload=RevealedValue(json.dumps(payload).encode(), ()),
        result=None if result is None else RevealedValue(result, ()),
        checkpoints={},
        digest="",
        is_checked=False,
    )


def test_a_pending_job() -> None:
    assert wire("created") == {
        "id": JOB,
        "service": "shop",
        "type": "pack",
        "state": "pending",
        "context": {
            "requestId": "01M8KT1SQRNQ61FVVWXTVD0ATW",
            "traceId": "8baea45b310c7989b409a4d23b383c25",
            "traceparent": "00-8baea45b310c7989b409a4d23b383c25-f86552fb9bf83cd5-01",
        },
        "payload": None,
        "createdAt": "2026-11-29T14:00:00Z",
        "updatedAt": "2026-11-29T14:00:00Z",
        "tries": 0,
        "maxTries": 3,
    }


def test_a_completed_job_has_its_times() -> None:
    job = wire("created started completed")

    assert job["state"] == "completed"
    assert (job["startedAt"], job["completedAt"], job["updatedAt"]) == (
        "2026-11-29T14:00:01Z",
        "2026-11-29T14:00:02Z",
        "2026-11-29T14:00:02Z",
    )
    assert "lastError" not in job


def test_a_retry_has_its_error_while_the_next_attempt_runs() -> None:
    assert wire("created started retry")["lastError"] == "retry by another runtime"


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ("created cancelled", "cancelled"),
        ("created started failed", "failed"),
        ("created started dead", "dead"),
        ("created started dead dismissed", "dismissed"),
        ("created expired", "expired"),
        ("created skipped", "cancelled"),
        ("created started stale", "failed"),
        ("created started staleCompletionIgnored", "active"),
        ("created started completed dead", "completed"),
        ("created started failed retried", "pending"),
    ],
)
def test_states_are_those_of_the_wire(kinds: str, state: str) -> None:
    assert wire(kinds)["state"] == state


def test_a_retried_job_begins_again() -> None:
    job = wire("created started failed retried", retried={"payload": {"number": 2}, "maxTries": 9})

    assert job["maxTries"] == 9
    assert job.keys().isdisjoint({"startedAt", "completedAt", "lastError"})


def test_values_are_there_only_if_they_are_revealed() -> None:
    large = 2**63 + 1
    events = stored("created started completed", completed={"result": {"token": "secret"}})

    hidden = to_job(events)
    shown = to_job(events, revealed=revealed({"n": large, "deep": [[large]]}, b'{"total":1}'))
    not_text = to_job(events, revealed=revealed(None, b'"\\ud800"'))

    assert hidden is not None
    assert "secret" not in hidden.model_dump_json()
    assert "result" not in hidden.model_dump(by_alias=True)
    assert shown is not None
    assert (shown.payload, shown.result) == ({"n": large, "deep": [[large]]}, {"total": 1})
    assert not_text is not None
    assert (not_text.payload, not_text.model_fields_set & {"result"}) == (None, set())


def test_logs_and_progress_that_the_wire_does_not_know_are_left_out() -> None:
    lines = [
        JobLogEntry(timestamp="2026-11-29T14:00:01.000Z", level="info", message="packing"),
        JobLogEntry(timestamp="2026-11-29T14:00:01.000Z", level="debug", message="not of the wire"),
        JobLogEntry(timestamp="soon", level="info", message="no time"),
    ]
    job = to_job(stored("created started progress", progress={"progress": {"current": 1.5}}), lines)

    assert job is not None
    assert [line.message for line in job.logs or ()] == ["packing"]
    assert job.progress is None


@pytest.mark.parametrize("kinds", ["started", "completed", ""])
def test_a_history_without_its_beginning_is_not_a_job(kinds: str) -> None:
    assert to_job(stored(kinds)) is None


def test_a_context_that_the_wire_refuses_hides_the_job() -> None:
    context: JsonValue = {"requestId": "r", "traceId": "no", "traceparent": "no"}

    assert to_job(stored("created", created={"context": context})) is None


def test_what_is_returned_is_valid_on_the_wire() -> None:
    job = to_job(stored("created started progress completed"), revealed=revealed({"n": 1}, b"1"))

    assert Codec[Job](Job, what="the job").encode(job)  # type: ignore[arg-type]


def test_every_state_has_a_name_on_the_wire() -> None:
    assert {WIRE_STATES[state].value for state in JobState} == STATES_OF_THE_WIRE


def test_asking_for_a_state_finds_what_is_shown_as_it() -> None:
    assert states_named(["cancelled"]) == {JobState.CANCELLED, JobState.SKIPPED}
    assert states_named(["failed", "dead"]) == {JobState.FAILED, JobState.STALE, JobState.DEAD}
    assert states_named([]) == frozenset()
