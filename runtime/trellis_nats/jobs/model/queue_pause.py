"""The record that pauses a queue for all its workers. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self, cast

from pydantic import JsonValue
from pydantic_core import from_json

from trellis_nats.clock import parse_timestamp, timestamp

__all__ = ["PAUSES_PREFIX", "QueuePause", "pause_key"]

PAUSES_PREFIX: Final = "pause"
"""The records are stored below it. The keys of jobs in that bucket have three tokens, and that of the leader's lease begins
with another one."""
_UNKNOWN: Final = "unknown"


def pause_key(queue: str) -> str:
    """Return the key of a queue's record in the bucket of its service; `*` is a filter for all queues."""
    return f"{PAUSES_PREFIX}.{queue}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePause:
    """The record of a paused queue: the actor, the reason, and the time. While it exists, no worker begins a job of the queue."""

    by: str
    """The actor."""
    reason: str | None
    since: datetime
    source: str
    """From where: `command line`, `console`, `Python API` …"""

    @classmethod
    def parse(cls, data: bytes, *, stored_at: datetime) -> Self:
        """Decode a record. Any value pauses a queue, so what cannot be read is `unknown` instead of an error.

        Args:
            data: the stored value.
            stored_at: when the server stored it, which counts as `since` where the record does not say.
        """
        try:
            content = cast("JsonValue", from_json(data))
        except ValueError:
            content = None
        members = content if isinstance(content, dict) else {}
        by, reason, source = (members.get(name) for name in ("by", "reason", "source"))
        return cls(
            by=by if isinstance(by, str) else _UNKNOWN,
            reason=reason if isinstance(reason, str) else None,
            since=_instant(members.get("since")) or stored_at,
            source=source if isinstance(source, str) else _UNKNOWN,
        )

    def encode(self) -> bytes:
        """Encode the record as JSON."""
        members = {"by": self.by, "since": timestamp(self.since), "source": self.source}
        if self.reason is not None:
            members["reason"] = self.reason
        return json.dumps(members, ensure_ascii=False).encode()

    def __str__(self) -> str:
        why = "" if self.reason is None else f": {' '.join(self.reason.split())}"
        return f"paused by {self.by} since {timestamp(self.since)}{why}"


def _instant(text: JsonValue) -> datetime | None:
    try:
        return parse_timestamp(text) if isinstance(text, str) else None
    except ValueError:
        return None
