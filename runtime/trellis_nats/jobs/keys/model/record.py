"""The stored record of one key: its active and its waiting jobs (reference, 10.5). Pure.

Records are shared with other runtimes: unknown members are kept, and an unreadable record never counts as empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple, Self, cast

import pydantic_core
from pydantic import JsonValue

from trellis_nats.clock import parse_timestamp
from trellis_nats.jobs.keys.model.json_reader import InvalidRecord, JsonReader

__all__ = ["InvalidRecord", "KeyRecord", "QueueEntry", "Slot"]

VERSION: Final = 1

JsonObject = dict[str, JsonValue]

_NO_EXTRA: Final[Mapping[str, JsonValue]] = {}
"""No unknown members. A plain dictionary, because every write unpacks it."""


class Slot(NamedTuple):
    """An active job of the key. The token distinguishes this slot from every other one, even of the same job.

    A tuple, because working a job creates six of them, and a frozen dataclass takes four times as long.
    """

    job_id: str
    token: str
    instance_id: str
    started_at: str
    renewed_at: str
    expires_at: str
    tries: int
    context: JsonValue
    extra: Mapping[str, JsonValue] = _NO_EXTRA

    @property
    def lease(self) -> timedelta:
        """How long the slot lasts without a renewal. Both times are from the owner's clock, so skew does not matter."""
        return max(parse_timestamp(self.expires_at) - parse_timestamp(self.renewed_at), timedelta(0))

    def to_json(self) -> JsonObject:
        """Return the JSON object that is stored."""
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
    def from_json(cls, source: JsonReader) -> Self:
        """Read a stored JSON object.

        Raises:
            InvalidRecord: a member is missing or has another type.
        """
        slot = cls(
            job_id=source.take("jobId", str),
            token=source.take("slotToken", str),
            instance_id=source.take("instanceId", str),
            started_at=source.timestamp("startedAt"),
            renewed_at=source.timestamp("heartbeatAt"),
            expires_at=source.timestamp("leaseExpiresAt"),
            tries=source.take("tries", int),
            context=source.rest.pop("context", None),
            extra=source.rest or _NO_EXTRA,
        )
        if not slot.token or not slot.job_id:
            raise InvalidRecord(f"{source.position}: jobId and slotToken must not be empty")
        return slot


class QueueEntry(NamedTuple):
    """A waiting job of the key."""

    job_id: str
    created_at: str
    request_id: str
    context: JsonValue
    retry_at: str | None = None
    """When a retry, or a job that was created with a delay, is due: it then goes first. An extension of this runtime;
    other runtimes keep or drop it."""
    extra: Mapping[str, JsonValue] = _NO_EXTRA

    def is_due(self, at: datetime, window: timedelta) -> bool:
        """Return whether it became due within the last `window`, so that other jobs must let it go first."""
        if self.retry_at is None:
            return False
        due = parse_timestamp(self.retry_at)
        return due <= at and at - due < window

    def is_early(self, at: datetime) -> bool:
        """Return whether it is not due yet."""
        return self.retry_at is not None and parse_timestamp(self.retry_at) > at

    def to_json(self) -> JsonObject:
        """Return the JSON object that is stored."""
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
    def from_json(cls, source: JsonReader) -> Self:
        """Read a stored JSON object.

        Raises:
            InvalidRecord: a member is missing or has another type.
        """
        return cls(
            source.take("jobId", str),
            source.timestamp("createdAt"),
            source.take("requestId", str),
            source.rest.pop("context", None),
            source.timestamp("retryAt") if "retryAt" in source.rest else None,
            source.rest or _NO_EXTRA,
        )


class KeyRecord(NamedTuple):
    """The record of one key."""

    service: str
    """The namespace of the bucket."""
    queue: str
    display: str
    hash: str
    max_active: int
    """The limit in the contract of the last writer. No decision uses it."""
    max_queued: int
    """The same for waiting jobs."""
    active: tuple[Slot, ...] = ()
    """Oldest first."""
    queued: tuple[QueueEntry, ...] = ()
    """Next first."""
    takeovers: int = 0
    """How many expired slots were taken over."""
    updated_at: str = ""
    extra: Mapping[str, JsonValue] = _NO_EXTRA

    def with_jobs(
        self, active: tuple[Slot, ...], queued: tuple[QueueEntry, ...], *, takeovers: int | None = None
    ) -> KeyRecord:
        """Return a copy with other jobs. Like `_replace`, in a third of the time."""
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

    def slot(self, token: str) -> Slot | None:
        """Return the slot with a token. None: there is no such slot."""
        for slot in self.active:  # a generator takes three times as long
            if slot.token == token:
                return slot
        return None

    def entry(self, job_id: str) -> QueueEntry | None:
        """Return the entry of a waiting job. None: the job does not wait."""
        for entry in self.queued:
            if entry.job_id == job_id:
                return entry
        return None

    def encode(self) -> bytes:
        """Encode the record as JSON."""
        return self.encode_stamped(self.max_active, self.max_queued, self.updated_at)

    def encode_stamped(self, max_active: int, max_queued: int, updated_at: str) -> bytes:
        """Encode the record with the limits and the time of its writer instead of those that it was read with."""
        return (
            b'%b%b,"keyHash":"%b","maxActive":%d,"maxQueuedPerKey":%d,"active":%b,"queued":%b,"staleTakeoverCount":%d,"updatedAt":%b%b}'
            % (
                _head(self.service, self.queue),
                pydantic_core.to_json(self.display),
                self.hash.encode(),
                max_active,
                max_queued,
                pydantic_core.to_json([slot.to_json() for slot in self.active]) if self.active else b"[]",
                pydantic_core.to_json([entry.to_json() for entry in self.queued]) if self.queued else b"[]",
                self.takeovers,
                pydantic_core.to_json(updated_at),
                b"," + pydantic_core.to_json(self.extra)[1:-1] if self.extra else b"",
            )
        )

    @classmethod
    def parse(cls, data: bytes, *, service: str, queue: str, key_hash: str) -> Self:
        """Decode the record of the key with this hash.

        Raises:
            InvalidRecord: it is not JSON, a member is missing or has another type, or the record is of another key.
        """
        try:
            content = cast("JsonValue", pydantic_core.from_json(data, allow_inf_nan=False))
        except ValueError:
            raise InvalidRecord("it is not JSON") from None
        if _contains_infinity(content):
            raise InvalidRecord("it contains a number that is too large")
        source = JsonReader(content, "the record")
        if source.take("version", int) != VERSION:
            raise InvalidRecord(f"its version is not {VERSION}")
        for name, expected in (("service", service), ("jobType", queue), ("keyHash", key_hash)):
            found = source.take(name, str)
            if found != expected:
                raise InvalidRecord(f'{name} is "{found}", not "{expected}"')
        active = [Slot.from_json(item) for item in source.items("active")]
        queued = [QueueEntry.from_json(item) for item in source.items("queued")]
        if len({slot.token for slot in active}) != len(active):
            raise InvalidRecord("two active slots have one slotToken")
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
            extra=source.rest or _NO_EXTRA,
        )


@lru_cache(maxsize=64)  # a process has few queues
def _head(service: str, queue: str) -> bytes:
    """Return what each record of a queue begins with, up to the value of `key`."""
    head = {"version": VERSION, "service": service, "jobType": queue}
    return pydantic_core.to_json(head)[:-1] + b',"key":'


def _contains_infinity(value: JsonValue) -> bool:
    """Return whether a number was too large to be read, so that it could not be written back."""
    if isinstance(value, float):
        return math.isinf(value)
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    # Almost all values are strings. A record is read at every conflict and may have a thousand entries.
    return any(not isinstance(item, str) and _contains_infinity(item) for item in value)
