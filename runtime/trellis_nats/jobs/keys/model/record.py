"""The record of one key, as it is stored: who is active, and who waits (reference, 10.5). Pure.

Records are shared with other runtimes: members that are not known here are kept, and nothing that cannot be read is
ever taken for an empty record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Self, cast

import pydantic_core
from pydantic import JsonValue

from trellis_nats.clock import parse_timestamp
from trellis_nats.jobs.keys.model.json_reader import JsonReader, Malformed

__all__ = ["KeyRecord", "Malformed", "QueueEntry", "Slot"]

VERSION: Final = 1

JsonObject = dict[str, JsonValue]

_NOTHING: Final[Mapping[str, JsonValue]] = {}
"""Nothing that is not known. A plain dictionary, for it is unpacked at every write."""


class Slot(NamedTuple):
    """An active job of the key. The token tells this hold from every other one, of the same job too.

    Records are tuples, because each job has six made; those of a frozen class take four times as long.
    """

    job_id: str
    token: str
    instance_id: str
    started_at: str
    renewed_at: str
    expires_at: str
    tries: int
    context: JsonValue
    extra: Mapping[str, JsonValue] = _NOTHING

    @property
    def lease(self) -> timedelta:
        """How long the hold lasts without a renewal: both instants are of the owner's clock, so no skew is in it."""
        return max(parse_timestamp(self.expires_at) - parse_timestamp(self.renewed_at), timedelta(0))

    def written(self) -> JsonObject:
        """Write it as the wire has it."""
        return {
            "jobId": self.job_id,
            "slotToken": self.token,
            "instanceId": self.instance_id,
            "startedAt": self.started_at,
            "heartbeatAt": self.renewed_at,
            "leaseExpiresAt": self.expires_at,
            "tries": self.tries,
            "context": self.context,
            **self.extra,
        }

    @classmethod
    def read(cls, source: JsonReader) -> Self:
        """Read it.

        Raises:
            Malformed: a member is missing or of another type.
        """
        slot = cls(
            job_id=source.take("jobId", str),
            token=source.take("slotToken", str),
            instance_id=source.take("instanceId", str),
            started_at=source.instant("startedAt"),
            renewed_at=source.instant("heartbeatAt"),
            expires_at=source.instant("leaseExpiresAt"),
            tries=source.take("tries", int),
            context=source.rest.pop("context", None),
            extra=source.rest or _NOTHING,
        )
        if not slot.token or not slot.job_id:
            raise Malformed(f"{source.place}: jobId and slotToken must not be empty")
        return slot


class QueueEntry(NamedTuple):
    """A job of the key that waits."""

    job_id: str
    created_at: str
    request_id: str
    context: JsonValue
    retry_at: str | None = None
    """When a job is due that waits for its next try, or was created with a delay: it then goes first. Ours alone; other
    runtimes keep or drop it."""
    extra: Mapping[str, JsonValue] = _NOTHING

    def is_due(self, at: datetime, courtesy: timedelta) -> bool:
        """Say whether it waits for its next try, and others shall let it go first now."""
        if self.retry_at is None:
            return False
        due = parse_timestamp(self.retry_at)
        return due <= at and at - due < courtesy

    def is_early(self, at: datetime) -> bool:
        """Say whether it waits for a time that has not come."""
        return self.retry_at is not None and parse_timestamp(self.retry_at) > at

    def written(self) -> JsonObject:
        """Write it as the wire has it."""
        written: JsonObject = {
            "jobId": self.job_id,
            "createdAt": self.created_at,
            "requestId": self.request_id,
            "context": self.context,
            **self.extra,
        }
        if self.retry_at is not None:
            written["retryAt"] = self.retry_at
        return written

    @classmethod
    def read(cls, source: JsonReader) -> Self:
        """Read it.

        Raises:
            Malformed: a member is missing or of another type.
        """
        return cls(
            source.take("jobId", str),
            source.instant("createdAt"),
            source.take("requestId", str),
            source.rest.pop("context", None),
            source.instant("retryAt") if "retryAt" in source.rest else None,
            source.rest or _NOTHING,
        )


class KeyRecord(NamedTuple):
    """Everything about one key."""

    service: str
    """The namespace of the bucket."""
    queue: str
    display: str
    hash: str
    max_active: int
    """What its last writer's contract said; nobody decides by it."""
    max_queued: int
    """Likewise."""
    active: tuple[Slot, ...] = ()
    """Oldest first."""
    queued: tuple[QueueEntry, ...] = ()
    """Next first."""
    takeovers: int = 0
    """How many slots were taken over whose lease had run out."""
    updated_at: str = ""
    extra: Mapping[str, JsonValue] = _NOTHING

    def holding(
        self, active: tuple[Slot, ...], queued: tuple[QueueEntry, ...], *, takeovers: int | None = None
    ) -> KeyRecord:
        """Return the record with others in it. As `_replace`, in a third of its time."""
        return KeyRecord(
            self.service,
            self.queue,
            self.display,
            self.hash,
            self.max_active,
            self.max_queued,
            active,
            queued,
            self.takeovers if takeovers is None else takeovers,
            self.updated_at,
            self.extra,
        )

    def stamped(self, *, max_active: int, max_queued: int, at: str) -> KeyRecord:
        """Return the record as it is written now by somebody whose contract has these numbers."""
        return KeyRecord(
            self.service,
            self.queue,
            self.display,
            self.hash,
            max_active,
            max_queued,
            self.active,
            self.queued,
            self.takeovers,
            at,
            self.extra,
        )

    def slot(self, token: str) -> Slot | None:
        """Return the slot with a token; None when there is none."""
        for slot in self.active:  # a generator would take three times as long
            if slot.token == token:
                return slot
        return None

    def entry(self, job_id: str) -> QueueEntry | None:
        """Return the entry of a waiting job; None when it does not wait."""
        for entry in self.queued:
            if entry.job_id == job_id:
                return entry
        return None

    def encode(self) -> bytes:
        """Write the record as JSON."""
        return pydantic_core.to_json(
            {
                "version": VERSION,
                "service": self.service,
                "jobType": self.queue,
                "key": self.display,
                "keyHash": self.hash,
                "maxActive": self.max_active,
                "maxQueuedPerKey": self.max_queued,
                "active": [slot.written() for slot in self.active],
                "queued": [entry.written() for entry in self.queued],
                "staleTakeoverCount": self.takeovers,
                "updatedAt": self.updated_at,
                **self.extra,
            }
        )

    @classmethod
    def parse(cls, data: bytes, *, service: str, queue: str, key_hash: str) -> Self:
        """Read the record of the key with this hash.

        Raises:
            Malformed: it is not JSON, a member is missing or of another type, or it is another key's.
        """
        try:
            content = cast("JsonValue", pydantic_core.from_json(data, allow_inf_nan=False))
        except ValueError:
            raise Malformed("it is not JSON") from None
        if _holds_infinity(content):
            raise Malformed("it holds a number that is too large")
        source = JsonReader(content, "the record")
        if source.take("version", int) != VERSION:
            raise Malformed(f"its version is not {VERSION}")
        for name, expected in (("service", service), ("jobType", queue), ("keyHash", key_hash)):
            found = source.take(name, str)
            if found != expected:
                raise Malformed(f'{name} is "{found}", not "{expected}"')
        active = [Slot.read(each) for each in source.items("active")]
        queued = [QueueEntry.read(each) for each in source.items("queued")]
        if len({slot.token for slot in active}) != len(active):
            raise Malformed("two active slots have one slotToken")
        return cls(
            service=service,
            queue=queue,
            hash=key_hash,
            display=source.take("key", str),
            max_active=source.take("maxActive", int),
            max_queued=source.take("maxQueuedPerKey", int) if "maxQueuedPerKey" in source.rest else 0,
            active=tuple(active),
            queued=tuple(queued),
            takeovers=source.take("staleTakeoverCount", int),
            updated_at=source.take("updatedAt", str),
            extra=source.rest or _NOTHING,
        )


def _holds_infinity(value: JsonValue) -> bool:
    """Say whether a number was too large to be read, so that it could not be written again."""
    if isinstance(value, float):
        return math.isinf(value)
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    # Almost all are text. A record is read at every conflict, and may have a thousand entries.
    return any(not isinstance(each, str) and _holds_infinity(each) for each in value)
