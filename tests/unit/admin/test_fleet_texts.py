"""What the commands for bulk actions, queues, workers, keys and the audit log print, at a fixed time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from trellis_admin.audit_log import Action, AuditEntry, AuditRecord, Kind, Outcome, Phase
from trellis_admin.bulk import BulkAction, BulkPlan, BulkRecord, BulkState, DryRun, IdleQueue, Refusal
from trellis_admin.keys import Holder, KeyList, KeyState, StoredKey, Waiting
from trellis_admin.queries import (
    QueueRow,
    Series,
    WorkedQueueRow,
    WorkerRow,
    parse_filter,
)
from trellis_admin.terminal import to_plain
from trellis_admin.texts.bulk_actions import (
    describe_bulk,
    describe_plan,
    tabulate_audit,
    tabulate_bulk,
)
from trellis_admin.texts.fleet import (
    describe_key,
    describe_keys,
    describe_pauses,
    tabulate_keys,
    tabulate_queues,
    tabulate_workers,
)
from trellis_admin.texts.live_events import LiveEvent, describe_live_event
from trellis_nats.jobs.model.queue_pause import QueuePause
from trellis_nats.jobs.model.states import JobState

from tests.support.command_texts import ID, NOW, OTHER, PREFIX, WORKER, ago, check_text

BULK: Final = BulkRecord(
    id="01M8KWHCQ3XJ7VDGZ0S4N3F1PA",
    action=BulkAction.REPLAY,
    filter="queue:charge-payment error:f3a91c07 state:dead",
    at=48_211_906,
    count=2914,
    actor="oncall-eu",
    source="command line",
    reason="gateway is back, INC-2287",
    created_at=ago(90),
    state=BulkState.WAITING,
    limit=10,
    sent=10,
    refused=2,
    changed=1,
)


def test_bulk_actions() -> None:
    stopped = replace(
        BULK, id=OTHER, state=BulkState.STOPPED, note="6.1 % of 33 jobs that ended died again", sent=40
    )
    refusals = {f"{PREFIX}.{ID}": "its deadline has passed"}
    parts = [to_plain(tabulate_bulk([BULK, stopped], NOW))]
    states = {JobState.DEAD: 1, JobState.COMPLETED: 9}
    parts += [describe_bulk(BULK, refusals, states, NOW), describe_bulk(stopped, {}, {}, NOW)]

    check_text("bulk", "\n\n".join(parts))


def test_a_dry_run() -> None:
    dry = DryRun(
        accepted=1_990,
        refused=10,
        expired=12,
        changed=3,
        checked=2_000,
        is_complete=False,
        reasons=(Refusal("orderId is missing", 10, (ID, OTHER)),),
    )
    plan = BulkPlan(
        action=BulkAction.REPLAY,
        filter=parse_filter("queue:charge-payment state:dead", NOW),
        at=48_211_906,
        count=2914,
        dry_run=dry,
        idle=(IdleQueue("orders-service/charge-payment", 2914, "is paused by bob"),),
    )

    check_text("dead-replay-dry-run", describe_plan(plan))


def test_keys() -> None:
    holder = Holder(
        job_id=ID,
        worker=WORKER,
        token="t",  # noqa: S106 - of a slot
        since=ago(2_520),
        renewed_at=ago(120),
        expires_at=ago(30),
        attempt=1,
        is_expired=True,
    )
    key = StoredKey(
        prefix=PREFIX,
        namespace="helpdesk",
        queue="sync-tickets",
        key="zendesk:acme:tickets",
        key_hash="3fd1" * 16,
        state=KeyState.BLOCKED,
        holders=(holder,),
        waiting=(Waiting(job_id=OTHER, since=ago(60), not_before=NOW + timedelta(seconds=30)),),
        max_active=1,
        max_queued=10,
        takeovers=2,
        revision=7,
    )
    keys = KeyList(keys=(key,), total=118, blocked=1, held=40, is_cut=False)

    check_text(
        "keys", "\n\n".join([to_plain(tabulate_keys(keys, NOW)), describe_keys(keys), describe_key(key, NOW)])
    )


def test_queues() -> None:
    series = Series(ago(60), timedelta(minutes=1), (1,))
    row = QueueRow(
        service="helpdesk",
        queue="sync-tickets",
        prefix="trellis.jobs.helpdesk.sync-tickets",
        waiting=1204,
        oldest=ago(2_520),
        running=3,
        slots=8,
        workers=2,
        late_workers=1,
        paused_workers=2,
        retrying=4,
        next_retry=None,
        retries_due=0,
        dead=3,
        stale=2,
        states={},
        created=10,
        completed=90,
        ended_badly=10,
        failed_attempts=12,
        died=3,
        ended_per_minute=1.7,
        success=0.9,
        run_p50=timedelta(seconds=1),
        run_p95=timedelta(seconds=41.3),
        wait_p95=None,
        history=series,
        ended=series,
    )
    idle = replace(
        row, queue="send-reply", waiting=0, oldest=None, dead=0, stale=0, success=None, run_p95=None
    )
    pause = QueuePause(by="oncall-eu", reason="help-desk API answers 429", since=ago(2_520), source="console")
    pauses = {"helpdesk/sync-tickets": pause}

    check_text(
        "queues",
        "\n".join([to_plain(tabulate_queues([row, idle], pauses, NOW)), *describe_pauses(pauses, NOW)]),
    )


def test_workers() -> None:
    row = WorkerRow(
        instance_id=WORKER,
        service="orders-service",
        queues=(
            WorkedQueueRow(queue="charge-payment", prefix=PREFIX, concurrency=8, running=3, is_paused=False),
        ),
        heartbeat_at=ago(2),
        first_at=ago(9_000),
        is_silent=False,
        is_late=False,
        is_stopping=False,
        version="0.1.0",
        digest="5c02e7b1c0ffee",
        running=3,
        slots=8,
        host="node-08",
        pid=4711,
        started_at=ago(9_000),
        loop_lag=timedelta(milliseconds=12),
        memory_bytes=187 * 2**20,
    )
    silent = replace(row, instance_id=OTHER, is_silent=True, heartbeat_at=ago(300), host=None, loop_lag=None)

    late = replace(row, instance_id="orders-58d4c9-9ktq", is_late=True, heartbeat_at=ago(50))
    due = replace(row, instance_id="orders-58d4c9-c2xz", heartbeat_at=ago(36))

    stopping = replace(row, instance_id="orders-58d4c9-e4mn", is_stopping=True)
    stopped = replace(
        stopping, instance_id="orders-58d4c9-f6rw", heartbeat_at=ago(200), extension={"stopped": True}
    )

    blocked = replace(row, instance_id="orders-58d4c9-b7kd", loop_lag=timedelta(seconds=72))

    check_text(
        "workers", to_plain(tabulate_workers([silent, blocked, stopping, row, due, late, stopped], NOW))
    )


def test_the_audit_log() -> None:
    record = AuditRecord(
        id="01M8KWHCQ3XJ7VDGZ0S4N3F1PA",
        kind=Kind.JOB,
        action=Action.CANCEL,
        actor="anna",
        source="command line",
        target={"job": ID, "queue": "charge-payment", "service": "orders-service", "seen": None},
        reason="wrong order",
        at=ago(12),
    )
    refused = AuditEntry(record, 3, Outcome(Phase.REFUSED, "it had completed 0.2 s earlier", ago(11)))

    check_text(
        "audit-log", to_plain(tabulate_audit([refused, AuditEntry(replace(record, reason=""), 1, None)]))
    )


def test_events_as_they_are_stored() -> None:
    body = b'{"tries": 5, "error": "did not answer", "payload": {"secret": 1}}'
    event = LiveEvent.parse(f"{PREFIX}.{ID}.dead", body, 48_211_902, NOW)
    broken = LiveEvent.parse(
        f"{PREFIX}.{ID}.retried", b'{"adminAction":{"actor":"anna","reason":"INC"}}', 9, NOW
    )

    assert event is not None
    assert broken is not None
    assert LiveEvent.parse("trellis.jobs.workers.s.q.i.heartbeat", b"{}", 1, NOW) is None
    check_text("tail", "\n".join(map(describe_live_event, (event, broken))))
