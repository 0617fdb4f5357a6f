"""Events of jobs as they are stored, one line each. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self, cast

from trellis_nats.jobs.model.states import EventType

from trellis_admin.terminal.tables import clean

__all__ = ["EVENT_KINDS", "LiveEvent", "describe_live_event"]

EVENT_KINDS: Final = tuple(str(event) for event in EventType)
_TOKENS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEvent:
    """An event, without what is in its payload."""

    sequence: int
    stored_at: datetime
    prefix: str
    service: str
    queue: str
    id: str
    kind: str
    tries: int | None
    error: str | None
    actor: str | None
    reason: str | None

    @classmethod
    def parse(cls, subject: str, data: bytes, sequence: int, stored_at: datetime) -> Self | None:
        """Read an event; None for a subject that is not one. A body that cannot be read leaves out what is in it."""
        prefix, _, rest = subject.rpartition(".")
        prefix, _, job_id = prefix.rpartition(".")
        if len(prefix.split(".")) != _TOKENS:
            return None
        body = _parse(data)
        action = body.get("adminAction")
        by = cast("dict[str, object]", action) if isinstance(action, dict) else {}
        tries = body.get("tries")
        return cls(
            sequence=sequence,
            stored_at=stored_at,
            prefix=prefix,
            service=prefix.split(".")[2],
            queue=prefix.split(".")[3],
            id=job_id,
            kind=rest,
            tries=tries if isinstance(tries, int) else None,
            error=_text(body.get("error")),
            actor=_text(by.get("actor")),
            reason=_text(by.get("reason")),
        )


def _parse(data: bytes) -> dict[str, object]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", body) if isinstance(body, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def describe_live_event(event: LiveEvent) -> str:
    """Return an event on one line."""
    at = f"{event.stored_at:%H:%M:%S}.{event.stored_at.microsecond // 1000:03}"
    parts = [at, f"{event.service}/{event.queue}", event.id, event.kind]
    if event.tries and event.kind in {"started", "retry", "dead", "failed"}:
        parts.append(f"attempt {event.tries}")
    if event.error:
        parts.append(clean(event.error))
    if event.actor:
        parts.append(f"by {clean(event.actor)}" + (f": {clean(event.reason)}" if event.reason else ""))
    return "  ".join(map(clean, parts))
