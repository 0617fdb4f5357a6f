"""What lifecycle events say about the key of their job (reference, 6.1). Pure."""

from __future__ import annotations

from datetime import datetime

from pydantic import JsonValue

from trellis_nats.jobs.keys.model.record import Slot
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.model.event import LifecycleEvent, NewEvent
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.jobs.store.event_log import StoredEvent

__all__ = ["admitted", "held", "skipped", "slot_token", "stale", "stated"]

JsonObject = dict[str, JsonValue]


def admitted(key: JobKey, *, replaced: str | None = None) -> JsonObject:
    """Return what `created` says: the key, and how the job came by its place."""
    policy: JsonObject = {"outcome": "accepted"}
    if replaced is not None:
        policy = {"outcome": "replaced", "reason": "replace-oldest", "replacedJobId": replaced}
    return {"concurrency": {"key": key.text, "keyHash": key.hash}, "queuePolicy": policy}


def stated(event: NewEvent, said: JsonObject) -> NewEvent:
    """Add such facts to an event, where `LifecycleEvent` has them: before the timestamp, which is the last member."""
    body = dict(event.body)
    at = body.pop("timestamp")
    return NewEvent(event.job_id, event.event_type, event.headers, {**body, **said, "timestamp": at})


def held(key: JobKey, slot: Slot, takeovers: int) -> JsonObject:
    """Return what `started` says: the key and the slot."""
    return {
        "concurrency": {
            "key": key.text,
            "keyHash": key.hash,
            "instanceId": slot.instance_id,
            "slotToken": slot.token,
            "heartbeatAt": slot.renewed_at,
            "leaseExpiresAt": slot.expires_at,
            "staleTakeoverCount": takeovers,
        }
    }


def slot_token(started: LifecycleEvent) -> str | None:
    """Return the token of the slot that a try was begun with; None where its runtime does not say."""
    concurrency = started.concurrency
    token = concurrency.get("slotToken") if isinstance(concurrency, dict) else None
    return token if isinstance(token, str) else None


def stale(
    newest: StoredEvent, started: LifecycleEvent | None, slot: Slot, at: datetime
) -> LifecycleEvent | None:
    """Write that a job lost its slot to another one; None when the job no longer works in that slot."""
    event = newest.event
    if event.effective_state is not JobState.ACTIVE:
        return None
    token = None if started is None else slot_token(started)
    if (token is not None and token != slot.token) or event.tries != slot.tries:
        return None
    return _ended(event, EventType.STALE, JobState.ACTIVE, "the lease of its concurrency key ran out", at)


def skipped(newest: LifecycleEvent, by: str, at: datetime) -> LifecycleEvent | None:
    """Write that a job was displaced by a newer one of its key; None when it no longer waits."""
    state = newest.effective_state
    if newest.is_terminal or state not in {JobState.PENDING, JobState.RETRY}:
        return None
    return _ended(newest, EventType.SKIPPED, state, f"replaced by newer keyed job {by}", at)


def _ended(
    newest: LifecycleEvent, event: EventType, previous: JobState, error: str, at: datetime
) -> LifecycleEvent:
    identity = JobIdentity(
        job_id=newest.job_id, service=newest.service, queue=newest.job_type, context=newest.job_context()
    )
    return identity.ended(event, previous=previous, tries=newest.tries, error=error, at=at).read()
