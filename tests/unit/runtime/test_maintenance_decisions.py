"""Maintenance decides: is a job lost, is a history due, may the lease be taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import JsonValue
from trellis_nats import ConfigurationError, Maintenance, RescueReport, Retention
from trellis_nats._support.loop_lag import LoopLag
from trellis_nats.jobs.maintenance.leader_lease import (
    LeaderObservation,
    LeaseRecord,
    LeaseTiming,
    may_take,
    observe,
)
from trellis_nats.jobs.maintenance.lost_job import LostJobDecision, decide
from trellis_nats.jobs.maintenance.retention import group_by_age, is_due, job_filter
from trellis_nats.jobs.maintenance.worker_heartbeat import WorkedQueue, WorkerProcess
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import TERMINAL_EVENTS, EventType
from trellis_nats.jobs.pause.intake import Intake
from trellis_nats.metrics.registry import Number

from tests.support.shop import Shop

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LOST_AFTER = timedelta(seconds=60)
ACK_WAIT = timedelta(seconds=30)
BACKOFF = (timedelta(seconds=5), timedelta(minutes=2))


def newest(event: str, state: str, tries: int = 1, not_before: str | None = None) -> LifecycleEvent:
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
    if not_before is not None:
        body["notBefore"] = not_before
    return LifecycleEvent.model_validate(body)


@pytest.mark.parametrize(
    ("event", "state", "tries", "age", "decision"),
    [
        ("created", "pending", 0, 59, LostJobDecision.YOUNG),
        ("created", "pending", 0, 60, LostJobDecision.LOST_WITHOUT_MESSAGE),
        ("retried", "pending", 0, 60, LostJobDecision.LOST_WITHOUT_MESSAGE),
        ("retry", "retry", 1, 64, LostJobDecision.YOUNG),
        ("retry", "retry", 1, 65, LostJobDecision.LOST_WITHOUT_MESSAGE),
        ("retry", "retry", 2, 179, LostJobDecision.YOUNG),
        ("retry", "retry", 7, 180, LostJobDecision.LOST_WITHOUT_MESSAGE),
        ("retry", "retry", 0, 65, LostJobDecision.LOST_WITHOUT_MESSAGE),
        ("started", "active", 1, 89, LostJobDecision.YOUNG),
        ("started", "active", 1, 90, LostJobDecision.LOST_WITHOUT_WORKER),
        ("progress", "active", 1, 90, LostJobDecision.LOST_WITHOUT_WORKER),
        ("staleCompletionIgnored", "stale", 1, 90, LostJobDecision.LOST_WITHOUT_WORKER),
        ("completed", "completed", 1, 10_000, LostJobDecision.ENDED),
        ("stale", "stale", 1, 10_000, LostJobDecision.ENDED),
    ],
)
def test_the_newest_event_decides_whether_a_job_may_be_lost(
    event: str, state: str, tries: int, age: int, decision: LostJobDecision
) -> None:
    found = decide(
        newest(event, state, tries),
        age=timedelta(seconds=age),
        ack_wait=ACK_WAIT,
        backoff=BACKOFF,
        lost_after=LOST_AFTER,
    )

    assert found is decision


@pytest.mark.parametrize(("event", "state"), [("created", "pending"), ("retry", "retry")])
def test_a_job_is_not_lost_before_it_is_due(event: str, state: str) -> None:
    waiting = newest(event, state, not_before="2026-01-01T13:00:00.000Z")

    def decided(age: timedelta) -> LostJobDecision:
        return decide(waiting, age=age, ack_wait=ACK_WAIT, backoff=BACKOFF, lost_after=LOST_AFTER)

    assert decided(timedelta(minutes=60, seconds=59)) is LostJobDecision.YOUNG
    assert decided(timedelta(minutes=61)) is LostJobDecision.LOST_WITHOUT_MESSAGE


def test_every_final_event_has_a_retention_by_default() -> None:
    groups = group_by_age(Retention())

    assert {age.days: set(events) for age, events in groups.items()} == {
        7: {EventType.COMPLETED, EventType.CANCELLED, EventType.EXPIRED, EventType.SKIPPED},
        30: {EventType.FAILED, EventType.STALE},
        90: {EventType.DEAD, EventType.DISMISSED},
    }
    assert {event for events in groups.values() for event in events} == TERMINAL_EVENTS


def test_jobs_without_a_limit_are_in_no_group() -> None:
    assert all(EventType.FAILED not in events for events in group_by_age(Retention(failed=None)).values())


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
def test_an_invalid_job_id_makes_no_filter(job_id: str) -> None:
    assert job_filter(f"trellis.jobs.shop.pack.{job_id}.completed") is None


def test_a_job_filter_matches_only_that_job() -> None:
    assert job_filter("trellis.jobs.shop.pack.J1.completed") == "trellis.jobs.shop.pack.J1.>"


TIMING = LeaseTiming(timedelta(seconds=30))


def record(holder: str | None) -> LeaseRecord:
    return LeaseRecord.of(holder, TIMING, NOON)


def test_a_dead_leader_is_replaced_within_the_length_of_the_lease() -> None:
    """A leader dies just after a renewal: an observer sees the renewal one interval later, waits, and checks one later."""
    assert TIMING.interval + TIMING.held_for + TIMING.interval == TIMING.length


def test_a_lease_is_taken_only_after_it_was_not_renewed_for_its_length() -> None:
    seen = observe(None, revision=4, record=record("other"), at=100.0)
    same = observe(seen, revision=4, record=record("other"), at=119.0)
    renewed = observe(same, revision=5, record=record("other"), at=119.5)

    assert same.since == 100.0
    assert not may_take(same, me="me", at=119.9)
    assert may_take(same, me="me", at=120.0)
    assert not may_take(renewed, me="me", at=120.0)


@pytest.mark.parametrize("found", [record("me"), record(None), None])
def test_a_free_lease_is_taken_at_once(found: LeaseRecord | None) -> None:
    assert may_take(LeaderObservation(1, found, since=0.0), me="me", at=0.0)


def test_the_holder_decides_the_length_of_a_lease() -> None:
    longer = LeaseRecord.of("other", LeaseTiming(timedelta(minutes=5)), NOON)

    assert not may_take(LeaderObservation(1, longer, since=0.0), me="me", at=199.0)
    assert may_take(LeaderObservation(1, longer, since=0.0), me="me", at=200.0)


def test_a_lease_record_is_encoded_and_parsed() -> None:
    written = record("me").encode()

    assert written == b'{"holder":"me","heldForMs":20000,"renewedAt":"2026-01-01T12:00:00.000Z"}'
    assert LeaseRecord.parse(written) == record("me")
    assert LeaseRecord.parse(b"") is None
    assert LeaseRecord.parse(b'{"holder":"me","heldForMs":-1,"renewedAt":""}') is None


def test_a_heartbeat_has_a_subject_only_for_valid_names() -> None:
    def subject(queue: str) -> str | None:
        return WorkedQueue(
            namespace="shop",
            service="shop",
            queue=queue,
            instance_id="i",
            concurrency=1,
            process=WorkerProcess(Shop.contract, LoopLag(lambda _: None)),
            intake=Intake(asyncio.Event()),
            running=Number(),
        ).subject

    assert subject("pack") == "trellis.jobs.workers.shop.pack.i.heartbeat"
    assert subject("pack.all") is None
    assert subject("*") is None


def test_reports_add_up() -> None:
    one = RescueReport(examined=1, waiting=2, running=3, enqueued=4, undecided=5)

    assert one + one == RescueReport(examined=2, waiting=4, running=6, enqueued=8, undecided=10)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("heartbeat_every", lambda: Maintenance(heartbeat_every=timedelta(0))),
        ("rescue_every", lambda: Maintenance(rescue_every=timedelta(0))),
        ("purge_every", lambda: Maintenance(purge_every=timedelta(0))),
        ("lease", lambda: Maintenance(lease=timedelta(0))),
    ],
)
def test_an_interval_must_be_positive(name: str, made: Callable[[], Maintenance]) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be positive, got 0 s"):
        made()
