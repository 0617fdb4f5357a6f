"""Jobs in every state, for the pages of the console: events as a service stores them, on the stream that it created."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import JsonValue
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.clock import timestamp
from trellis_nats.jobs.model.states import STATE_AFTER, EventType
from trellis_nats.jobs.model.subjects import worker_heartbeat_subject

__all__ = [
    "BIG",
    "CHARGE",
    "DEAD_ID",
    "RUNNING_ID",
    "SECRET",
    "SYNC",
    "JobSeed",
    "append_events",
    "seed_jobs",
    "store_job",
]

SERVICE: Final = "orders-service"
CHARGE: Final = f"trellis.jobs.{SERVICE}.charge-payment"
SYNC: Final = f"trellis.jobs.{SERVICE}.sync-tickets"
RUNNING_ID: Final = "01M8KTHHQ2M9S346Q3D25VT4F5"
DEAD_ID: Final = "01M8KTDA8MSD0VAV75SQXA8039"
BIG: Final = 18446744073709551615
"""An integer that a float does not hold."""
SECRET: Final = "c-42-customer"  # noqa: S105 - a word that is only in payloads
TIMEOUT: Final = (
    "GatewayTimeout: POST https://payments.internal/v2/charges did not answer within 30.0 s (connected in 0.012 s, waited "
    "29.988 s; idempotency key order-90071992547409931-charge-1)"
)
MARKUP: Final = "ValueError: <b>bold</b> & <script>alert(1)</script>"
_ENDINGS: Final = (
    EventType.COMPLETED,
    EventType.FAILED,
    EventType.CANCELLED,
    EventType.EXPIRED,
    EventType.SKIPPED,
    EventType.STALE,
)


@dataclass(frozen=True, slots=True)
class JobSeed:
    """A job, and what happened to it."""

    id: str
    prefix: str = CHARGE
    age: timedelta = timedelta(minutes=10)
    """When it was created, before now."""
    events: Sequence[tuple[EventType, float, Mapping[str, JsonValue]]] = field(default_factory=tuple)
    """What happened after its creation: the event, after how many seconds, and what it carries."""
    created: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


async def store_job(connection: Connection, job: JobSeed) -> None:
    """Store the events of a job."""
    began = datetime.now(UTC) - job.age
    for kind, seconds, fields in [(EventType.CREATED, 0.0, job.created), *job.events]:
        body = _body(job, kind, began + timedelta(seconds=seconds)) | dict(fields)
        subject = f"{job.prefix}.{job.id}.{kind.value}"
        await publish_acked(connection, subject, json.dumps(body).encode())


async def append_events(connection: Connection, job: JobSeed) -> None:
    """Store only the events after the creation of a job that is stored already, as of now."""
    for kind, seconds, fields in job.events:
        body = _body(job, kind, datetime.now(UTC) + timedelta(seconds=seconds)) | dict(fields)
        await publish_acked(connection, f"{job.prefix}.{job.id}.{kind.value}", json.dumps(body).encode())


async def seed_jobs(connection: Connection, *, dead: int = 24) -> None:
    """Store jobs in every state, workers, and dead jobs in three groups."""
    await store_job(connection, _running())
    await store_job(connection, _dead(DEAD_ID, TIMEOUT))
    for number in range(dead):
        error = (TIMEOUT, f"OutOfStock: product p-{number} has 0 left, {number} wanted", MARKUP)[number % 3]
        await store_job(connection, _dead(f"01M8KTDEAD{number:016}", error))
    for number, ending in enumerate(_ENDINGS):
        why: dict[str, JsonValue] = (
            {} if ending is EventType.COMPLETED else {"error": f"{ending.value}: number {number}"}
        )
        result: dict[str, JsonValue] = (
            {"result": {"chargeId": "ch_1"}} if ending is EventType.COMPLETED else {}
        )
        events = [(EventType.STARTED, 1.0, _started(1)), (ending, 3.0, why | result)]
        await store_job(connection, JobSeed(f"01M8KTEND{number:017}", events=events))
    for number in range(5):
        await store_job(connection, JobSeed(f"01M8KTWAIT{number:016}", age=timedelta(minutes=number)))
    due = timestamp(datetime.now(UTC) + timedelta(minutes=5))
    retry: dict[str, JsonValue] = {"error": TIMEOUT, "notBefore": due, "tries": 1}
    events = [(EventType.STARTED, 1.0, _started(1)), (EventType.RETRY, 31.0, retry)]
    await store_job(connection, JobSeed("01M8KTRETRY000000000000000", events=events))
    await store_job(connection, _dismissed())
    for number in range(3):
        await store_job(connection, _keyed(number))
    await _heartbeat(connection, "orders-58d4c9-7wtn", age=timedelta(seconds=1))
    await _heartbeat(connection, "orders-58d4c9-m8qp", age=timedelta(minutes=5))


def _body(job: JobSeed, kind: EventType, at: datetime) -> dict[str, JsonValue]:
    body: dict[str, JsonValue] = {
        "jobId": job.id,
        "service": SERVICE,
        "jobType": job.prefix.rpartition(".")[2],
        "eventType": kind.value,
        "state": STATE_AFTER[kind].value,
        "context": {
            "requestId": "01M8KTHH14AMCRNFRYY01VEKDS",
            "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-f86552fb9bf83cd5-01",
        },
        "tries": 0 if kind is EventType.CREATED else 1,
        "timestamp": timestamp(at),
    }
    if kind is EventType.CREATED:
        payload: dict[str, JsonValue] = {
            "orderId": "o-1",
            "customerId": SECRET,
            "amountCents": 12990,
            "ledgerEntry": BIG,
        }
        body |= {"maxTries": 5, "payload": payload}
    return body


def _started(tries: int, worker: str = "orders-58d4c9-7wtn") -> dict[str, JsonValue]:
    return {"tries": tries, "worker": {"instanceId": worker}}


def _running() -> JobSeed:
    def line(text: str, level: str) -> dict[str, JsonValue]:
        entry: dict[str, JsonValue] = {
            "timestamp": timestamp(datetime.now(UTC)),
            "level": level,
            "message": text,
        }
        return {"tries": 2, "logs": [entry]}

    due = timestamp(datetime.now(UTC))
    progress: dict[str, JsonValue] = {"message": "Asking the payment gateway", "current": 3, "total": 4}
    events: list[tuple[EventType, float, Mapping[str, JsonValue]]] = [
        (EventType.STARTED, 1.0, _started(1, "orders-7c9f6b-x2k4")),
        (EventType.RETRY, 31.0, {"error": TIMEOUT, "tries": 1, "notBefore": due}),
        (EventType.STARTED, 40.0, _started(2)),
        (EventType.LOGGED, 41.0, line("order 90071992547409931: 3 items, 129.90 EUR", "info")),
        (EventType.LOGGED, 71.0, line("gateway slow: 30.0 s without an answer", "warn")),
        (EventType.PROGRESS, 72.0, {"tries": 2, "progress": progress}),
    ]
    return JobSeed(RUNNING_ID, age=timedelta(seconds=100), events=events)


def _dead(job_id: str, error: str) -> JobSeed:
    events: list[tuple[EventType, float, Mapping[str, JsonValue]]] = []
    for tries in range(1, 6):
        events.append((EventType.STARTED, tries * 10.0, _started(tries)))
        kind = EventType.DEAD if tries == 5 else EventType.RETRY
        events.append((kind, tries * 10.0 + 2, {"error": error, "tries": tries}))
    return JobSeed(job_id, age=timedelta(hours=1), events=events)


def _dismissed() -> JobSeed:
    dead = _dead("01M8KTDISMISSED00000000000", TIMEOUT)
    action: dict[str, JsonValue] = {
        "actor": "oncall-eu",
        "reason": "customers were asked",
        "source": "console",
    }
    fields: dict[str, JsonValue] = {"error": TIMEOUT, "tries": 5, "adminAction": action}
    return JobSeed(dead.id, age=dead.age, events=[*dead.events, (EventType.DISMISSED, 90.0, fields)])


def _keyed(number: int) -> JobSeed:
    payload: dict[str, JsonValue] = {"origin": "acme"}
    concurrency: dict[str, JsonValue] = {"key": "zendesk/acme/tickets", "keyHash": f"{7:064x}"}
    job = JobSeed(
        f"01M8KTKEY{number:017}",
        prefix=SYNC,
        created={"payload": payload, "concurrency": concurrency},
    )
    if number == 0:
        return JobSeed(job.id, SYNC, job.age, [(EventType.STARTED, 1.0, _started(1))], job.created)
    return job


async def _heartbeat(connection: Connection, instance: str, *, age: timedelta) -> None:
    for queue in ("charge-payment", "sync-tickets"):
        body = {
            "service": SERVICE,
            "jobType": queue,
            "instanceId": instance,
            "concurrency": 4,
            "timestamp": timestamp(datetime.now(UTC) - age),
        }
        subject = worker_heartbeat_subject(SERVICE, queue, instance)
        await publish_acked(connection, subject, json.dumps(body).encode())
