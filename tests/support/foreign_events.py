"""Events as the TypeScript runtime writes them: unfenced, with `previousState: pending, tries: 1` on every `started`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from pydantic import JsonValue
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.clock import timestamp
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import STATE_AFTER, EventType, JobState

from tests.support.shop import Shop

__all__ = ["foreign_body", "foreign_event", "foreign_history", "publish_foreign"]

_NOTHING: Final[Mapping[str, JsonValue]] = MappingProxyType({})
_AT: Final = datetime(2026, 11, 29, 14, 6, 26, 40_000, tzinfo=UTC)
_JOB: Final = "01M8KT1SQRNGY82PMCC50CW60P"
_BELIEVED: Final = {
    EventType.CREATED: None,
    EventType.STARTED: JobState.PENDING,
    EventType.RETRIED: JobState.FAILED,
    EventType.DISMISSED: JobState.DEAD,
}


def foreign_body(
    kind: EventType, job_id: str, fields: Mapping[str, JsonValue] = _NOTHING, *, queue: str = "pack"
) -> dict[str, JsonValue]:
    """Return the body of an event. `fields` replaces or adds members, under their wire names."""
    body: dict[str, JsonValue] = {
        "jobId": job_id,
        "service": "shop",
        "jobType": queue,
        "eventType": kind.value,
        "state": "stale" if kind is EventType.STALE_COMPLETION_IGNORED else STATE_AFTER[kind].value,
        "context": {
            "requestId": "01M8KT1SQRNQ61FVVWXTVD0ATW",
            "traceId": "8baea45b310c7989b409a4d23b383c25",
            "traceparent": "00-8baea45b310c7989b409a4d23b383c25-f86552fb9bf83cd5-01",
        },
        "tries": 0 if kind in (EventType.CREATED, EventType.RETRIED) else 1,
        "timestamp": timestamp(_AT),
    }
    believed = _BELIEVED.get(kind, JobState.ACTIVE)
    if believed is not None:
        body["previousState"] = believed.value
    if kind in (EventType.CREATED, EventType.RETRIED):
        body |= {"maxTries": 3, "payload": {"number": 1}}
    if kind is EventType.COMPLETED:
        body["result"] = {"total": 1}
    if kind in (EventType.FAILED, EventType.CANCELLED, EventType.RETRY):
        body["error"] = f"{kind.value} by another runtime"
    return {**body, **fields}


def foreign_event(
    kind: EventType, *, previous: JobState | None = None, tries: int = 1, after: int = 0
) -> LifecycleEvent:
    """Return an event whose writer believed that the job was in the state `previous`."""
    fields: dict[str, JsonValue] = {"tries": tries, "timestamp": timestamp(_AT + timedelta(seconds=after))}
    body = foreign_body(kind, _JOB, fields)
    body.pop("previousState", None)
    if previous is not None:
        body["previousState"] = previous.value
    return LifecycleEvent.model_validate(body)


def foreign_history(kinds: str) -> list[LifecycleEvent]:
    """Return the events with these names, as the other runtime writes them."""
    return [LifecycleEvent.model_validate(foreign_body(EventType(kind), _JOB)) for kind in kinds.split()]


async def publish_foreign(
    shop: Shop,
    kind: EventType,
    job_id: str,
    fields: Mapping[str, JsonValue] = _NOTHING,
    *,
    queue: str = "pack",
    without: str | None = None,
) -> None:
    """Store an event without a fence; `without` is a member that it does not have."""
    body = foreign_body(kind, job_id, fields, queue=queue)
    if without is not None:
        del body[without]
    subject = f"trellis.jobs.shop.{queue}.{job_id}.{kind.value}"
    await publish_acked(shop.jobs.runtime.connection, subject, json.dumps(body).encode())
