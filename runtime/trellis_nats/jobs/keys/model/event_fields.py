"""The fields of lifecycle events that describe the key of their job (reference, 6.1). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from trellis_nats.jobs.keys.model.record import Slot
from trellis_nats.jobs.keys.model.template import JobKey, resolve
from trellis_nats.jobs.model.event import LifecycleEvent, NewEvent
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.states import EventType, JobState

__all__ = [
    "add_fields",
    "created_fields",
    "key_of_stored",
    "skipped_event",
    "slot_token",
    "stale_event",
    "started_fields",
    "stored_key",
]

JsonObject = dict[str, JsonValue]

_HASH: Final = re.compile(r"[0-9a-f]{64}")


def created_fields(key: JobKey, *, replaced: str | None = None) -> JsonObject:
    """Return the fields of `created`: the key, and whether the job replaced another one."""
    policy: JsonObject = {"outcome": "accepted"}
    if replaced is not None:
        policy = {"outcome": "replaced", "reason": "replace-oldest", "replacedJobId": replaced}
    return {"concurrency": {"key": key.text, "keyHash": key.hash}, "queuePolicy": policy}


def add_fields(event: NewEvent, fields: JsonObject) -> NewEvent:
    """Return the event with more fields, in the order of `LifecycleEvent`: before the timestamp, the last member."""
    tail = dict(event.tail)
    at = tail.pop("timestamp")
    tail.update(fields)
    tail["timestamp"] = at
    return NewEvent(
        event.job_id,
        event.event_type,
        event.headers,
        event.head,
        tail,
        event.context,
        event.payload,
        event.result,
    )


def started_fields(key: JobKey, slot: Slot, takeovers: int) -> JsonObject:
    """Return the fields of `started`: the key and the slot."""
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


def stored_key(event: LifecycleEvent) -> JobKey | None:
    """Return the key that an event names. None: its runtime did not store one."""
    concurrency = event.concurrency if isinstance(event.concurrency, dict) else {}
    text, hashed = concurrency.get("key"), concurrency.get("keyHash")
    if isinstance(text, str) and isinstance(hashed, str) and _HASH.fullmatch(hashed):
        return JobKey(text, hashed)
    return None


def key_of_stored(
    template: Sequence[str],
    event: LifecycleEvent,
    *,
    digest: str,
    payload: Callable[[], JsonValue],
    what: str,
) -> JobKey:
    """Return the key of a stored job.

    If this runtime wrote the event, it names the key under which the job was admitted, and that one counts: by the
    template of another version of the contract, the payload may have another key, or none.

    Args:
        template: the template of this version.
        event: the event with the payload.
        digest: that of the contract that wrote it; empty where another runtime did.
        payload: returns the payload, for an event that does not name the key.
        what: what errors call the payload.

    Raises:
        InvalidPayload: the payload has no key.
    """
    key = stored_key(event) if digest else None
    return resolve(template, payload(), what=what) if key is None else key


def slot_token(started: LifecycleEvent) -> str | None:
    """Return the token of the slot of an attempt. None: its runtime did not store one."""
    concurrency = started.concurrency
    token = concurrency.get("slotToken") if isinstance(concurrency, dict) else None
    return token if isinstance(token, str) else None


def stale_event(
    newest: LifecycleEvent, started: LifecycleEvent | None, slot: Slot, at: datetime
) -> LifecycleEvent | None:
    """Build the event for a job that lost its slot to another job. None: the job does not run in that slot any longer."""
    if newest.effective_state is not JobState.ACTIVE:
        return None
    token = None if started is None else slot_token(started)
    if (token is not None and token != slot.token) or newest.tries != slot.tries:
        return None
    return _end_event(
        newest, EventType.STALE, JobState.ACTIVE, "the lease of its concurrency key ran out", at
    )


def skipped_event(newest: LifecycleEvent, by: str, at: datetime) -> LifecycleEvent | None:
    """Build the event for a job that a newer job of its key displaced. None: the job does not wait any longer."""
    state = newest.effective_state
    if newest.is_terminal or state not in {JobState.PENDING, JobState.RETRY}:
        return None
    return _end_event(newest, EventType.SKIPPED, state, f"replaced by newer keyed job {by}", at)


def _end_event(
    newest: LifecycleEvent, event: EventType, previous: JobState, error: str, at: datetime
) -> LifecycleEvent:
    identity = JobIdentity(
        job_id=newest.job_id, service=newest.service, queue=newest.job_type, context=newest.job_context()
    )
    return identity.ended(event, previous=previous, tries=newest.tries, error=error, at=at).read()
