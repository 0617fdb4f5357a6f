"""The event by which a job that ended begins again: it repeats what is stored, byte for byte. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

from pydantic import JsonValue

from trellis_nats.codec import encode_json
from trellis_nats.jobs.model.event import LifecycleEvent, NewEvent, StoredEvent
from trellis_nats.jobs.model.raw_members import raw_members
from trellis_nats.jobs.model.writer import payload_writer

__all__ = ["CopiedEvent", "CopiedMembers", "StoredText"]


class StoredText(NamedTuple):
    """An event, and the text in which it is stored."""

    stored: StoredEvent
    text: bytes


class CopiedMembers(NamedTuple):
    """What a job keeps when it begins again."""

    payload: bytes
    """As text."""
    writer: str
    """The digest of the contract that wrote the payload; empty where that is not known."""
    max_tries: int | None
    deadline: str | None
    lineage: bytes | None
    """As text."""
    concurrency: Mapping[str, JsonValue] | None
    """The concurrency key under which the job was admitted."""
    event: LifecycleEvent
    """The event that has the payload."""
    text: bytes
    """That event as it is stored."""

    @classmethod
    def of(cls, created: StoredText | None, retried: StoredText | None) -> Self | None:
        """Read what a job keeps. None: no event that is stored has its payload.

        Args:
            created: the newest event that created the job.
            retried: the newest one by which it began again.
        """
        openings = sorted(
            (opening for opening in (created, retried) if opening is not None),
            key=lambda opening: opening.stored.sequence,
            reverse=True,
        )
        opened = next((opening for opening in openings if opening.stored.event.has_payload), None)
        if opened is None:
            return None
        members = raw_members(opened.text)
        events = [opening.stored.event for opening in openings]
        return cls(
            payload=members["payload"],
            writer=opened.stored.digest if created is None else payload_writer(opened.stored, created.stored),
            max_tries=next((event.max_tries for event in events if event.max_tries is not None), None),
            deadline=next((event.deadline for event in events if event.deadline is not None), None),
            lineage=next((raw for raw in map(_lineage, openings) if raw is not None), None),
            concurrency=_key_of(opened.stored.event),
            event=opened.stored.event,
            text=opened.text,
        )


class CopiedEvent(NamedTuple):
    """A `retried` event, ready to be stored."""

    job_id: str
    event_type: str
    headers: bytes
    data: bytes

    @classmethod
    def of(cls, event: NewEvent, copied: CopiedMembers) -> Self:
        """Add what the job keeps to an event."""
        lineage = b"" if copied.lineage is None else b'"lineage":%b,' % copied.lineage
        tail = encode_json(event.tail)[1:]
        data = b'%b,"payload":%b,%b%b' % (event.head, copied.payload, lineage, tail)
        return cls(event.job_id, event.event_type, event.headers, data)

    def encode(self) -> bytes:
        """Return its text."""
        return self.data

    def header_lines(self) -> bytes:
        """Return its headers, a line each."""
        return self.headers

    def read(self) -> LifecycleEvent:
        """Return the event as its readers will see it.

        Raises:
            ValueError: it cannot be read.
        """
        event = LifecycleEvent.parse(self.data)
        if event is None:
            raise ValueError(f"the event of job {self.job_id} cannot be read")
        return event


def _lineage(opening: StoredText) -> bytes | None:
    return raw_members(opening.text).get("lineage") if opening.stored.event.lineage is not None else None


def _key_of(event: LifecycleEvent) -> Mapping[str, JsonValue] | None:
    """Return the key of an event, without the slot that an attempt had."""
    concurrency = event.concurrency if isinstance(event.concurrency, dict) else {}
    key: dict[str, JsonValue] = {
        name: concurrency[name] for name in ("key", "keyHash") if name in concurrency
    }
    return key or None
