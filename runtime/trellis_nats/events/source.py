"""The subscriber side of one event."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Generic, Self, TypeVar

from typing_extensions import override

from trellis_nats._nats.wire.message import Message
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats._tracing.descriptions import MESSAGE_ID, SpanDescription, describe_reception
from trellis_nats._tracing.tracer import carries_trace, start_received
from trellis_nats._versions import ContractVersion
from trellis_nats.binding import Binding
from trellis_nats.codec import Codec
from trellis_nats.errors import InvalidPayload
from trellis_nats.events.envelope import ReceivedEvent, read_event
from trellis_nats.events.grants import subscribe_grants
from trellis_nats.events.receive_buffer import ReceiveBuffer
from trellis_nats.events.shared_subscription import SharedSubscription
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
    """The events of one subscription, for `async for`. It ends with its `async with` block.

    If the connection of the service or client is closed before that, the iteration raises `NotConnected`.
    """

    def __init__(
        self,
        codec: Codec[EventT],
        buffer: ReceiveBuffer,
        require_own_loop: Callable[[], None],
        description: SpanDescription,
        version: ContractVersion,
    ) -> None:
        self._version = version
        self._codec = codec
        self._description = description
        self._require_own_loop = require_own_loop
        self._buffer = buffer
        self._log_throttle = LogThrottle(_log)

    @property
    def dropped(self) -> int:
        """How many events were dropped because the reader was too slow."""
        return self._buffer.dropped

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReceivedEvent[EventT]:
        self._require_own_loop()
        while (message := await self._buffer.take()) is not None:
            try:
                return self._traced(read_event(self._codec, message), message)
            except InvalidPayload as error:
                self._log_throttle.write(
                    logging.WARNING,
                    LogEvent.EVENT_SKIPPED,
                    'skipped an event on "%s": %s',
                    message.subject,
                    self._version.explain(error, message.headers),
                    extra=log_fields(LogEvent.EVENT_SKIPPED, subject=message.subject),
                )
        raise StopAsyncIteration

    def _traced(self, received: ReceivedEvent[EventT], message: Message) -> ReceivedEvent[EventT]:
        """Make the span of an event that the reader takes. It has ended when the reader gets the event."""
        context = received.context
        is_received = carries_trace(message.headers, context)
        with start_received(self._description, context, is_received=is_received) as span:
            if received.id is not None:
                span.set(MESSAGE_ID, received.id)
            joined = context if is_received else span.join(context)
        return received if joined is context else replace(received, context=joined)


class EventSource(Generic[EventT]):
    """An event to subscribe to."""

    def __init__(self, runtime: Runtime, spec: EventSpec) -> None:
        self.spec = spec
        """What the contract declares about the event."""
        self._runtime = runtime
        self._codec = Codec[EventT](spec.event, what=f'event "{spec.name}"')
        self._description = describe_reception(spec.name)
        self._subscription = SharedSubscription(spec.filter)
        runtime.register(_SourceSurface(spec))

    def __repr__(self) -> str:
        return f"<EventSource {self.spec.name}>"

    @asynccontextmanager
    async def subscribe(self) -> AsyncGenerator[EventSubscription[EventT]]:
        """Receive the events that are published from now on.

        The subscription survives reconnects, but it is not durable: events that are published without a subscription, or
        while the connection is lost, are not delivered later. Up to 4,096 events, and 64 MiB, wait for the reader;
        beyond that the oldest are dropped, which is logged and counted in `dropped`. An event that does not match its
        schema is logged and skipped.

            async with client.events.orders.shipped.subscribe() as events:
                async for received in events:
                    print(received.id, received.event.order_id)

        Raises:
            PermissionDenied: the account may not subscribe to the event's subject.
            RequestTimeout: the server does not confirm the subscription.
        """
        connection = self._runtime.connection
        connection.require_own_loop()
        buffer = ReceiveBuffer(f'event "{self.spec.name}"', messages_max=_MESSAGES_MAX, bytes_max=_BYTES_MAX)
        remove = connection.on_close(buffer.fail)
        try:
            async with self._subscription.receive(connection, buffer.put):
                yield EventSubscription(
                    self._codec,
                    buffer,
                    connection.require_own_loop,
                    self._description,
                    ContractVersion(self._runtime.contract.digest),
                )
        finally:
            remove()
            buffer.close()


@dataclass(frozen=True)
class _SourceSurface(Surface):
    spec: EventSpec

    @override
    def grants(self, binding: Binding, role: Role) -> Iterable[Grant]:
        return subscribe_grants(self.spec) if role in {"worker", "client"} else ()
