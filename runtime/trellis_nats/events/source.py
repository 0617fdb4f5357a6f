"""One event, as anybody may listen to it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Generic, Self, TypeVar

from typing_extensions import override

from trellis_nats.binding import Binding
from trellis_nats.codec import Codec
from trellis_nats.errors import InvalidPayload
from trellis_nats.events.envelope import ReceivedEvent, read_event
from trellis_nats.events.grants import subscribe_grants
from trellis_nats.events.publish_buffer import Backlog
from trellis_nats.grants import Grant, Role
from trellis_nats.runtime import Runtime
from trellis_nats.specs import EventSpec
from trellis_nats.surface import Surface

__all__ = ["EventSource", "EventSubscription"]

EventT = TypeVar("EventT")

_log = logging.getLogger(__name__)

_MESSAGES_MAX: Final = 4096
_BYTES_MAX: Final = 64 * 1024 * 1024


class EventSubscription(Generic[EventT]):
    """The events of one subscription, for `async for`. It ends with the `async with` block that made it."""

    def __init__(self, codec: Codec[EventT], backlog: Backlog) -> None:
        self._codec = codec
        self._backlog = backlog

    @property
    def dropped(self) -> int:
        """How many events were dropped because the loop was too slow for them."""
        return self._backlog.dropped

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReceivedEvent[EventT]:
        while (message := await self._backlog.take()) is not None:
            try:
                return read_event(self._codec, message)
            except InvalidPayload as error:
                _log.warning('an event on "%s" was skipped: %s', message.subject, error)
        raise StopAsyncIteration


class EventSource(Generic[EventT]):
    """An event to be listened to."""

    def __init__(self, runtime: Runtime, spec: EventSpec) -> None:
        self.spec = spec
        """What the contract says about the event."""
        self._runtime = runtime
        self._codec = Codec[EventT](spec.event, what=f'event "{spec.name}"')
        runtime.register(_SourceSurface(spec))

    def __repr__(self) -> str:
        return f"<EventSource {self.spec.name}>"

    @asynccontextmanager
    async def subscribe(self) -> AsyncGenerator[EventSubscription[EventT]]:
        """Listen to the events that are published from now on.

        The subscription lasts through reconnects, but it is ephemeral: what is published while nobody listens, or
        while the connection is gone, does not come later. Up to 4,096 events, and 64 MiB, wait for the loop; beyond
        that the oldest are dropped, which is logged and counted in `dropped`. An event that does not match its
        schema is logged and skipped.

            async with client.events.orders.shipped.subscribe() as events:
                async for received in events:
                    print(received.id, received.event.order_id)

        Raises:
            PermissionDenied: the account may not subscribe to the event's subject.
            RequestTimeout: the server does not confirm the subscription.
        """
        connection = self._runtime.connection
        backlog = Backlog(f'event "{self.spec.name}"', messages_max=_MESSAGES_MAX, bytes_max=_BYTES_MAX)
        subscription = connection.subscribe(self.spec.filter, backlog.put)
        try:
            await connection.flush()
            yield EventSubscription(self._codec, backlog)
        finally:
            backlog.close()
            await subscription.unsubscribe()


@dataclass(frozen=True)
class _SourceSurface(Surface):
    spec: EventSpec

    @override
    def grants(self, binding: Binding, role: Role) -> Iterable[Grant]:
        return subscribe_grants(self.spec) if role in {"worker", "client"} else ()
