"""The handler of one event of a group, and what it receives."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from trellis_nats._nats.jetstream.delivery import Delivery
from trellis_nats._nats.wire.message import Message
from trellis_nats._tracing.descriptions import ATTEMPT, MESSAGE_ID, describe_event_handling
from trellis_nats._tracing.span import Span
from trellis_nats._tracing.tracer import carries_trace, start_incoming
from trellis_nats.codec import Codec
from trellis_nats.context import within
from trellis_nats.events.envelope import ReceivedEvent, read_event
from trellis_nats.specs import EventSpec

__all__ = ["DeliveredEvent", "EventHandler", "EventRegistration", "find_registration"]

EventT = TypeVar("EventT")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveredEvent(ReceivedEvent[EventT], Generic[EventT]):
    """An event as a group's handler receives it."""

    sequence: int
    """Its place in the stream of events: the same in every attempt."""
    attempt: int
    """Which attempt this is, counted from 1: an earlier one failed, or its process ended.

    An instance of another version of the contract, which cannot read the event, gives it back without an attempt.
    """


EventHandler = Callable[[DeliveredEvent[EventT]], Awaitable[None]]
"""Handles one event. What it returns is ignored."""


class EventRegistration(Generic[EventT]):
    """An event of a group with its handler."""

    def __init__(self, spec: EventSpec, handler: EventHandler[EventT], *, group: str) -> None:
        self.spec = spec
        self._description = describe_event_handling(spec.name, group)
        self._handler = handler
        self._codec = Codec[EventT](spec.event, what=f'event "{spec.name}"')

    def read(self, delivery: Delivery, attempt: int) -> DeliveredEvent[EventT]:
        """Read an event.

        Raises:
            InvalidPayload: it does not match its schema.
        """
        message = Message(delivery.subject, delivery.data, delivery.headers)
        received = read_event(self._codec, message)
        return DeliveredEvent(
            event=received.event,
            id=received.id,
            time=received.time,
            subject=received.subject,
            context=received.context,
            sequence=delivery.stream_sequence,
            attempt=attempt,
        )

    def start_span(
        self, event: DeliveredEvent[EventT], delivery: Delivery
    ) -> tuple[Span, DeliveredEvent[EventT]]:
        """Start the span of an attempt. It is the current span of this task from then on.

        Return the event in the span's trace, which is a new one if the event carries none.
        """
        is_received = carries_trace(delivery.headers, event.context)
        span = start_incoming(self._description, event.context, is_received=is_received)
        span.activate()
        span.set(ATTEMPT, event.attempt)
        if event.id is not None:
            span.set(MESSAGE_ID, event.id)
        context = span.join(event.context)
        return span, event if context is event.context else replace(event, context=context)

    async def handle(self, event: DeliveredEvent[EventT]) -> None:
        """Run the handler."""
        with within(event.context):
            await self._handler(event)


def find_registration(
    registrations: list[EventRegistration[Any]],  # Any: each has an event type of its own
    subject: str,
) -> EventRegistration[Any] | None:  # Any: likewise
    """Return the event that a subject belongs to."""
    return next((found for found in registrations if _matches(found.spec.filter, subject)), None)


def _matches(pattern: str, subject: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[^.]+"), subject) is not None
