"""Orphans in a record, the fields of events, and the defaults of a policy."""

from datetime import timedelta

import pytest
from pydantic import JsonValue
from trellis_nats.binding import QueueBinding
from trellis_nats.clock import timestamp
from trellis_nats.jobs.keys.model import event_fields
from trellis_nats.jobs.keys.model.policy import KeyPolicy, policy_of
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.keys.orphans import RESERVATION_TIMEOUT, is_abandoned, is_orphaned, overdue_slots
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.liveness import Answer

from tests.support.keyed_records import AT, entry, record, slot

MOMENT = timedelta(milliseconds=1)
KEY = JobKey("tenant:acme", "h")


def event(kind: str, state: str, *, tries: int = 1, concurrency: JsonValue = None) -> LifecycleEvent:
    return LifecycleEvent.model_validate(
        {
            "jobId": "A",
            "service": "svc",
            "jobType": "process",
            "eventType": kind,
            "state": state,
            "tries": tries,
            "context": {"requestId": "r", "traceId": "t", "traceparent": "p"},
            "timestamp": timestamp(AT),
            "concurrency": concurrency,
        }
    )


ENDS = ["completed", "failed", "cancelled", "expired", "skipped", "stale", "dead", "dismissed"]
LIVES = [("created", "pending"), ("started", "active"), ("retry", "retry"), ("retried", "pending")]


@pytest.mark.parametrize("end", ENDS)
def test_the_entry_of_a_job_that_has_ended_is_orphaned(end: str) -> None:
    assert is_orphaned(entry("A"), event(end, end), at=AT)


@pytest.mark.parametrize(("kind", "state"), LIVES)
def test_an_open_job_keeps_its_entry_however_long_it_waits(kind: str, state: str) -> None:
    assert not is_orphaned(entry("A"), event(kind, state), at=AT + timedelta(days=365))


def test_a_reservation_of_a_job_that_is_not_stored_times_out() -> None:
    assert not is_orphaned(entry("A"), None, at=AT + RESERVATION_TIMEOUT)
    assert is_orphaned(entry("A"), None, at=AT + RESERVATION_TIMEOUT + MOMENT)


@pytest.mark.parametrize("answer", [Answer.HELD, Answer.SILENT])
@pytest.mark.parametrize("end", ENDS)
def test_a_slot_is_abandoned_when_its_worker_stored_the_end(end: str, answer: Answer) -> None:
    assert is_abandoned(event(end, end), answer) is (end in {"completed", "failed"})


@pytest.mark.parametrize(
    ("answer", "is_free"), [(Answer.FREE, True), (Answer.HELD, False), (Answer.SILENT, False)]
)
def test_a_slot_is_abandoned_when_its_process_does_not_hold_it(answer: Answer, is_free: bool) -> None:
    assert is_abandoned(event("started", "active"), answer) is is_free
    assert is_abandoned(None, answer) is is_free


def test_only_slots_that_missed_a_renewal_are_overdue() -> None:
    policy = KeyPolicy(template=("k",), interval=timedelta(seconds=10))
    found = record([slot("A"), slot("B", renewed=AT + MOMENT)])

    assert overdue_slots(found, policy, at=AT + timedelta(seconds=15)) == []
    assert overdue_slots(found, policy, at=AT + timedelta(seconds=15) + MOMENT) == [found.active[0]]


def started(token: str, *, tries: int = 1) -> LifecycleEvent:
    return event("started", "active", tries=tries, concurrency={"slotToken": token})


def test_a_job_that_runs_in_a_lost_slot_is_stale() -> None:
    begun = started("token-A")

    found = event_fields.stale_event(begun, begun, slot("A"), AT)

    assert found is not None
    assert (found.event_type, found.state, found.previous_state, found.tries) == (
        "stale",
        "stale",
        "active",
        1,
    )


@pytest.mark.parametrize(
    ("newest", "begun"),
    [
        (started("newer"), started("newer")),
        (started("token-A", tries=2), None),
        (event("retry", "retry"), started("token-A")),
        (event("completed", "completed"), started("token-A")),
    ],
)
def test_a_job_that_has_moved_on_is_not_stale(newest: LifecycleEvent, begun: LifecycleEvent | None) -> None:
    assert event_fields.stale_event(newest, begun, slot("A"), AT) is None


def test_an_ignored_completion_leaves_a_job_active() -> None:
    ignored = event(EventType.STALE_COMPLETION_IGNORED, "completed")

    assert event_fields.stale_event(ignored, started("token-A"), slot("A"), AT) is not None


@pytest.mark.parametrize(("kind", "state"), LIVES)
def test_only_a_job_that_waits_can_be_skipped(kind: str, state: str) -> None:
    found = event_fields.skipped_event(event(kind, state), "N", AT)

    assert (found is None) is (state == "active")
    if found is not None:
        assert (found.event_type, found.error) == ("skipped", "replaced by newer keyed job N")


@pytest.mark.parametrize("end", ENDS)
def test_a_job_that_has_ended_is_not_skipped(end: str) -> None:
    assert event_fields.skipped_event(event(end, end), "N", AT) is None


def test_events_describe_the_key_and_the_slot() -> None:
    assert event_fields.created_fields(KEY) == {
        "concurrency": {"key": "tenant:acme", "keyHash": "h"},
        "queuePolicy": {"outcome": "accepted"},
    }
    assert event_fields.created_fields(KEY, replaced="B")["queuePolicy"] == {
        "outcome": "replaced",
        "reason": "replace-oldest",
        "replacedJobId": "B",
    }
    assert event_fields.started_fields(KEY, slot("A"), 2)["concurrency"] == {
        "key": "tenant:acme",
        "keyHash": "h",
        "instanceId": "worker",
        "slotToken": "token-A",
        "heartbeatAt": "2026-07-01T10:00:00.000Z",
        "leaseExpiresAt": "2026-07-01T10:00:30.000Z",
        "staleTakeoverCount": 2,
    }


@pytest.mark.parametrize("concurrency", [None, "x", {}, {"slotToken": 1}])
def test_an_event_without_a_valid_token_has_no_slot(concurrency: JsonValue) -> None:
    assert event_fields.slot_token(event("started", "active", concurrency=concurrency)) is None


def declared(ack_wait_ms: int, key: dict[str, JsonValue] | None, **said: JsonValue) -> KeyPolicy | None:
    return policy_of(
        QueueBinding.model_validate(
            {
                "queueType": "process",
                "publishPrefix": "trellis.jobs.svc.process",
                "workSubject": "trellis.work.svc.process",
                "consumerName": "process",
                "ackWaitMs": ack_wait_ms,
                "keyConcurrency": key,
                **said,
            }
        )
    )


def test_a_queue_without_a_key_has_no_policy() -> None:
    assert declared(30_000, None) is None


@pytest.mark.parametrize(
    ("ack_wait_ms", "interval", "lease"), [(30_000, 10, 30), (300_000, 30, 300), (3_000, 1, 3)]
)
def test_a_lease_lasts_as_long_as_the_ack_wait(ack_wait_ms: int, interval: int, lease: int) -> None:
    found = declared(ack_wait_ms, {"key": ["k"]})

    assert found == KeyPolicy(
        template=("k",), interval=timedelta(seconds=interval), lease=timedelta(seconds=lease)
    )
    assert found is not None
    assert found.margin == timedelta(seconds=lease) / 6


def test_a_slot_is_renewed_at_least_three_times_within_its_lease() -> None:
    found = declared(30_000, {"key": ["k"], "heartbeatIntervalMs": 60_000, "heartbeatTtlMs": 9_000})

    assert found is not None
    assert (found.interval, found.lease) == (timedelta(seconds=3), timedelta(seconds=9))
