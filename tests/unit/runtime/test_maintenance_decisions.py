"""What the duties decide: is a job lost, is a history due, may the lease be taken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import JsonValue
from trellis_nats import ConfigurationError, Duties, ReconcileReport, Retention
from trellis_nats.jobs.maintenance.leader_lease import (
    LeaderObservation,
    LeaseRecord,
    Timing,
    may_take,
    observe,
)
from trellis_nats.jobs.maintenance.lost_job import LostJobVerdict, judge
from trellis_nats.jobs.maintenance.retention import ages, is_due, job_filter
from trellis_nats.jobs.maintenance.worker_heartbeat import WorkedQueue
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import TERMINAL_EVENTS, EventType

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LOST_AFTER = timedelta(seconds=60)
ACK_WAIT = timedelta(seconds=30)
BACKOFF = (timedelta(seconds=5), timedelta(minutes=2))


def newest(event: str, state: str, tries: int = 1) -> LifecycleEvent:
    body: dict[str, JsonValue] = {
        "jobId": "j",
        "service": "shop",
        "jobType": "pack",
        "eventType": event,
        "state": state,
        "tries": tries,
        "context": {
            "requestId": "r",
            "traceId": "0" * 32,
            "traceparent": "00-" + "1" * 32 + "-" + "1" * 16 + "-01",
        },
        "timestamp": "2026-01-01T12:00:00.000Z",
    }
    return LifecycleEvent.model_validate(body)


@pytest.mark.parametrize(
    ("event", "state", "tries", "age", "judgement"),
    [
        ("created", "pending", 0, 59, LostJobVerdict.YOUNG),
        ("created", "pending", 0, 60, LostJobVerdict.LOST_WITHOUT_MESSAGE),
        ("retried", "pending", 0, 60, LostJobVerdict.LOST_WITHOUT_MESSAGE),
        ("retry", "retry", 1, 64, LostJobVerdict.YOUNG),
        ("retry", "retry", 1, 65, LostJobVerdict.LOST_WITHOUT_MESSAGE),
        ("retry", "retry", 2, 179, LostJobVerdict.YOUNG),
        ("retry", "retry", 7, 180, LostJobVerdict.LOST_WITHOUT_MESSAGE),
        ("retry", "retry", 0, 65, LostJobVerdict.LOST_WITHOUT_MESSAGE),
        ("started", "active", 1, 89, LostJobVerdict.YOUNG),
        ("started", "active", 1, 90, LostJobVerdict.LOST_WITHOUT_WORKER),
        ("progress", "active", 1, 90, LostJobVerdict.LOST_WITHOUT_WORKER),
        ("staleCompletionIgnored", "stale", 1, 90, LostJobVerdict.LOST_WITHOUT_WORKER),
        ("completed", "completed", 1, 10_000, LostJobVerdict.ENDED),
        ("stale", "stale", 1, 10_000, LostJobVerdict.ENDED),
    ],
)
def test_a_job_is_judged_by_its_newest_event(
    event: str, state: str, tries: int, age: int, judgement: LostJobVerdict
) -> None:
    found = judge(
        newest(event, state, tries),
        age=timedelta(seconds=age),
        ack_wait=ACK_WAIT,
        backoff=BACKOFF,
        lost_after=LOST_AFTER,
    )

    assert found is judgement


def test_every_end_has_an_age_by_default() -> None:
    groups = ages(Retention())

    assert {age.days: set(events) for age, events in groups.items()} == {
        7: {EventType.COMPLETED, EventType.CANCELLED, EventType.EXPIRED, EventType.SKIPPED},
        30: {EventType.FAILED, EventType.STALE},
        90: {EventType.DEAD, EventType.DISMISSED},
    }
    assert {event for events in groups.values() for event in events} == TERMINAL_EVENTS


def test_what_is_kept_for_ever_has_none() -> None:
    assert all(EventType.FAILED not in events for events in ages(Retention(failed=None)).values())


@pytest.mark.parametrize(
    ("event", "state", "seconds", "due"),
    [
        ("completed", "completed", 0, True),
        ("completed", "completed", 1, False),
        ("failed", "failed", 0, False),
        ("retried", "pending", -100, False),
        ("started", "active", -100, False),
        ("staleCompletionIgnored", "stale", -100, False),
    ],
)
def test_a_history_is_due_only_after_its_own_end(event: str, state: str, seconds: int, *, due: bool) -> None:
    stored = NOON + timedelta(seconds=seconds)

    assert is_due(newest(event, state), stored=stored, until=NOON, events=[EventType.COMPLETED]) is due
    assert not is_due(None, stored=stored, until=NOON, events=[EventType.COMPLETED])


@pytest.mark.parametrize("job_id", ["*", ">", "", "a b", "x" * 65])
def test_no_filter_is_made_of_what_is_no_job_id(job_id: str) -> None:
    assert job_filter(f"trellis.jobs.shop.pack.{job_id}.completed") is None


def test_the_filter_of_a_job_names_that_job_alone() -> None:
    assert job_filter("trellis.jobs.shop.pack.J1.completed") == "trellis.jobs.shop.pack.J1.>"


TIMING = Timing(timedelta(seconds=30))


def record(holder: str | None) -> LeaseRecord:
    return LeaseRecord.of(holder, TIMING, NOON)


def test_a_lease_is_noticed_to_be_over_within_its_length() -> None:
    """A holder dies just after a renewal; the others see that a turn later, wait, and look again a turn later."""
    assert TIMING.turn + TIMING.held_for + TIMING.turn == TIMING.length


def test_a_lease_is_taken_only_when_it_did_not_change_for_its_time() -> None:
    seen = observe(None, revision=4, record=record("other"), at=100.0)
    same = observe(seen, revision=4, record=record("other"), at=119.0)
    renewed = observe(same, revision=5, record=record("other"), at=119.5)

    assert same.since == 100.0
    assert not may_take(same, me="me", at=119.9)
    assert may_take(same, me="me", at=120.0)
    assert not may_take(renewed, me="me", at=120.0)


@pytest.mark.parametrize("found", [record("me"), record(None), None])
def test_a_lease_that_nobody_else_holds_is_taken_at_once(found: LeaseRecord | None) -> None:
    assert may_take(LeaderObservation(1, found, since=0.0), me="me", at=0.0)


def test_a_lease_is_as_long_as_its_holder_says() -> None:
    longer = LeaseRecord.of("other", Timing(timedelta(minutes=5)), NOON)

    assert not may_take(LeaderObservation(1, longer, since=0.0), me="me", at=199.0)
    assert may_take(LeaderObservation(1, longer, since=0.0), me="me", at=200.0)


def test_a_lease_survives_its_way_through_the_bucket() -> None:
    written = record("me").encode()

    assert written == b'{"holder":"me","heldForMs":20000,"renewedAt":"2026-01-01T12:00:00.000Z"}'
    assert LeaseRecord.parse(written) == record("me")
    assert LeaseRecord.parse(b"") is None
    assert LeaseRecord.parse(b'{"holder":"me","heldForMs":-1,"renewedAt":""}') is None


def test_presence_goes_only_where_a_name_may_stand() -> None:
    def subject(queue: str) -> str | None:
        return WorkedQueue(
            namespace="shop", service="shop", queue=queue, instance_id="i", concurrency=1
        ).subject

    assert subject("pack") == "trellis.jobs.workers.shop.pack.i.heartbeat"
    assert subject("pack.all") is None
    assert subject("*") is None


def test_reports_add_up() -> None:
    one = ReconcileReport(examined=1, waiting=2, running=3, enqueued=4, undecided=5)

    assert one + one == ReconcileReport(examined=2, waiting=4, running=6, enqueued=8, undecided=10)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("presence_every", lambda: Duties(presence_every=timedelta(0))),
        ("reconcile_every", lambda: Duties(reconcile_every=timedelta(0))),
        ("purge_every", lambda: Duties(purge_every=timedelta(0))),
        ("lease", lambda: Duties(lease=timedelta(0))),
    ],
)
def test_an_interval_that_is_not_positive_is_refused_by_name(name: str, made: Callable[[], Duties]) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be positive, got 0:00:00"):
        made()
