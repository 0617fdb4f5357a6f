"""The service side of one event: publishing it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Generic, TypeVar

from typing_extensions import override

from trellis_nats._nats.jetstream.publish import PubAck, publish_acked
from trellis_nats._nats.jetstream.repeat_write import repeat_write
from trellis_nats._tracing.descriptions import MESSAGE_ID, describe_publication
from trellis_nats._tracing.tracer import start_outgoing
from trellis_nats._versions import ContractVersion
from trellis_nats.binding import Binding
from trellis_nats.clock import now, parse_timestamp, timestamp
from trellis_nats.codec import Codec, encode_json
from trellis_nats.context import Context
from trellis_nats.errors import InvalidPayload
from trellis_nats.events.envelope import with_header
from trellis_nats.events.grants import publish_grants
from trellis_nats.events.source import EventSource, EventSubscription
from trellis_nats.events.subjects import EVENT_STREAM, event_subject
from trellis_nats.grants import Grant, Role, StartCheck, scan_grants
from trellis_nats.ids import id_of_key, new_id
from trellis_nats.provision.requirements import StreamRequirement
from trellis_nats.runtime import Runtime
from trellis_nats.specs import EventSpec
from trellis_nats.surface import Surface

__all__ = ["EventChannel", "EventOutlet", "EventPublisher", "PublishedEvent", "PublisherSurface"]

EventT = TypeVar("EventT")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedEvent:
    """An event that is stored."""

    id: str
    """A ULID. Subscribers see the same one."""
    time: datetime
    """When this call wrote it. An earlier call with the same idempotency key may have stored it with its own time."""
    sequence: int
    """Its place in the stream of events."""


class EventOutlet(Generic[EventT]):
    """An event of another contract to publish."""

    _at_start: ClassVar[StartCheck] = StartCheck.OPTIONAL
    """A service starts without the permission to publish events of others: a denied one raises its own error."""

    def __init__(self, runtime: Runtime, spec: EventSpec) -> None:
        self.spec = spec
        """What the contract declares about the event."""
        self._runtime = runtime
        self._codec = Codec[EventT](spec.event, what=f'event "{spec.name}"')
        self._description = describe_publication(spec.name)
        self._version = ContractVersion(runtime.contract.digest)
        runtime.register(PublisherSurface(spec, self._at_start))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec.name}>"

    async def publish(self, event: EventT, *, idempotency_key: str | None = None) -> PublishedEvent:
        """Publish an event, and return once it is stored: from then on it is not lost.

        An event that a handler publishes has the handler's request and trace.

        Args:
            event: what has happened.
            idempotency_key: gives the event its id: a second call with the same key, for instance by a job that runs
                again, publishes the same event. Within two minutes it is stored once, as the first call wrote it;
                later it is stored again, with the same id.

        Raises:
            InvalidPayload: the event does not match its schema, or has no value that its subject needs; nothing was
                sent.
            PayloadTooLarge: the server would not take it; nothing was sent.
            ConfigurationError: the idempotency key is empty; nothing was sent.
            WriteUnknown: none of three attempts was acknowledged; the event may have been stored.
            TransportError: NATS did not take it.
        """
        self._runtime.connection.require_own_loop()
        what = f'event "{self.spec.name}"'
        body = self._codec.to_json(event)
        if not isinstance(body, dict):
            raise InvalidPayload(what, [("#", "an event must be a JSON object")])
        event_id = new_id() if idempotency_key is None else self._derive_id(idempotency_key)
        time = parse_timestamp(timestamp(now()))
        written = with_header(body, event_id=event_id, time=time)
        try:
            data = encode_json(written)
        except ValueError:
            raise InvalidPayload(what, [("#", "it cannot be written as JSON text")]) from None
        subject = event_subject(self.spec, written)
        with start_outgoing(self._description) as span:
            span.set(MESSAGE_ID, event_id)
            ack = await self._store(subject, data, event_id, span.context)
        return PublishedEvent(id=event_id, time=time, sequence=ack.sequence)

    def _derive_id(self, key: str) -> str:
        # Of its contract too: other services may publish the same event, each with keys of its own.
        return id_of_key(f'event "{self.spec.name}"', (self._runtime.contract.id, self.spec.name), key)

    async def _store(self, subject: str, data: bytes, event_id: str, context: Context) -> PubAck:
        headers = {**context.headers(), **self._version.headers}
        return await repeat_write(
            lambda: publish_acked(
                self._runtime.connection,
                subject,
                data,
                headers=headers,
                message_id=event_id,
                timeout=self._runtime.options.request_timeout,
            ),
            what=f'event "{self.spec.name}" {event_id}',
        )


class EventChannel(EventOutlet[EventT]):
    """An event of another contract to publish, and to subscribe to."""

    def __init__(self, runtime: Runtime, spec: EventSpec) -> None:
        super().__init__(runtime, spec)
        self._source = EventSource[EventT](runtime, spec)

    def subscribe(self) -> AbstractAsyncContextManager[EventSubscription[EventT]]:
        """Subscribe to the event, as `EventSource.subscribe` does."""
        return self._source.subscribe()


class EventPublisher(EventChannel[EventT]):
    """An event of the service to publish, and to subscribe to."""

    _at_start: ClassVar[StartCheck] = StartCheck.REQUIRED


@dataclass(frozen=True)
class PublisherSurface(Surface):
    """One event to publish: the stream, and the permission."""

    spec: EventSpec
    at_start: StartCheck

    @override
    def requirements(self, binding: Binding) -> Iterable[StreamRequirement]:
        """Return the stream of events."""
        return (EVENT_STREAM,)

    @override
    def grants(self, binding: Binding, role: Role) -> Iterable[Grant]:
        """Return the permission to publish; for an audit, those to read what the service has published."""
        if role == "auditor" and self.at_start is StartCheck.REQUIRED:
            return scan_grants(EVENT_STREAM.name, "read what events have stored")
        return publish_grants(self.spec, self.at_start) if role in {"worker", "client"} else ()
