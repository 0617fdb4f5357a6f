"""Events that a test captured."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final, Generic, TypeVar

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.wire.message import Message
from trellis_nats.clock import describe_duration
from trellis_nats.codec import Codec
from trellis_nats.events.envelope import ReceivedEvent, read_event
from trellis_nats.specs import EventSpec

__all__ = ["CapturedEvents"]

EventT = TypeVar("EventT")

_TIMEOUT: Final = timedelta(seconds=5)


class CapturedEvents(Generic[EventT]):
    """The events of one kind that were published since the capture began."""

    def __init__(self, connection: Connection, spec: EventSpec) -> None:
        self._name = spec.name
        self._codec = Codec[EventT](spec.event, what=f'event "{spec.name}"')
        self._messages: list[Message] = []
        self._changed = asyncio.Event()
        self._subscription = connection.subscribe(spec.filter, self._take)

    def __repr__(self) -> str:
        return f"<CapturedEvents {self._name}: {len(self._messages)}>"

    @property
    def events(self) -> list[EventT]:
        """The events, oldest first.

        Raises:
            InvalidPayload: one of them does not match its schema.
        """
        return [received.event for received in self.received]

    @property
    def received(self) -> list[ReceivedEvent[EventT]]:
        """The events with their ids, subjects and contexts. Raises as `events`."""
        return [read_event(self._codec, message) for message in self._messages]

    async def wait_for(self, count: int, *, timeout: timedelta = _TIMEOUT) -> list[EventT]:
        """Wait until at least so many events have arrived, and return all. Not needed after a drain.

        Raises:
            TimeoutError: fewer arrived in time.
        """
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                while len(self._messages) < count:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            seen = len(self._messages)
            raise TimeoutError(
                f'{seen} of {count} events "{self._name}" arrived within {describe_duration(timeout)}'
            ) from None
        return self.events

    async def close(self) -> None:
        """Capture no more."""
        await self._subscription.unsubscribe()

    def _take(self, message: Message) -> None:
        self._messages.append(message)
        self._changed.set()
