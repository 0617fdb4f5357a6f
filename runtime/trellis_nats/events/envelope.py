"""The `header` inside the body of an event, next to the members of its schema (reference, 6.2). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from pydantic import JsonValue

from trellis_nats._nats.wire.message import Message
from trellis_nats.clock import parse_timestamp, timestamp
from trellis_nats.codec import Codec, decode_json
from trellis_nats.context import Context
from trellis_nats.errors import InvalidPayload

__all__ = ["ReceivedEvent", "read_event", "with_header"]

EventT = TypeVar("EventT")

_HEADER = "header"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceivedEvent(Generic[EventT]):
    """An event as it arrived."""

    event: EventT
    id: str | None
    """The event's id, the same if the event is published twice. None: the publisher, such as a Rust service, gives none."""
    time: datetime | None
    """When the event was published, by the publisher's clock. None: the publisher does not give it."""
    subject: str
    context: Context
    """The request and trace that the event belongs to."""


def with_header(body: Mapping[str, JsonValue], *, event_id: str, time: datetime) -> dict[str, JsonValue]:
    """Return the body with a header, which replaces one that it may have."""
    rest: dict[str, JsonValue] = {name: value for name, value in body.items() if name != _HEADER}
    return {**rest, _HEADER: {"id": event_id, "time": timestamp(time)}}


def read_event(codec: Codec[EventT], message: Message) -> ReceivedEvent[EventT]:
    """Read an event.

    Raises:
        InvalidPayload: it does not match its schema.
    """
    event = _read_body(codec, message.data)
    event_id, time = _read_header(message.data)
    return ReceivedEvent(
        event=event,
        id=event_id or message.headers.get("Nats-Msg-Id"),
        time=time,
        subject=message.subject,
        context=Context.of_headers(message.headers),
    )


def _read_body(codec: Codec[EventT], data: bytes) -> EventT:
    try:
        return codec.decode(data)
    except InvalidPayload as error:
        if not any(_HEADER in place.split("/") for place, _ in error.issues):
            raise
    # A schema that forbids other members also forbids the header, which every event has.
    body = decode_json(data)
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name != _HEADER}
    return codec.from_json(body)


def _read_header(data: bytes) -> tuple[str | None, datetime | None]:
    match decode_json(data):
        case {"header": {"id": str(event_id), **rest}}:
            time = rest.get("time")
            return event_id, _instant(time) if isinstance(time, str) else None
        case _:
            return None, None


def _instant(text: str) -> datetime | None:
    try:
        return parse_timestamp(text)
    except ValueError:
        return None
