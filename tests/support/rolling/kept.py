"""Events, values of buckets and states, which one version stores and the other one reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any, Final

from trellis_nats import DeliveredEvent, EventSubscription, Service
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call

from tests.support.eventually import eventually
from tests.support.rolling.deliveries import IMPATIENT, PATIENT, SOON, Delivery, for_each
from tests.support.rolling.versions import Version, member, runtime_of
from tests.support.state_service import StoreRules, state_platform

__all__ = [
    "handle_backlog",
    "handle_new",
    "handle_side_by_side",
    "is_quiet",
    "keep_state",
    "keep_value",
    "receive",
]

_STREAM: Final = "trellis"


async def handle_backlog(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Publish events; later, groups of the other version handle what the stream kept."""
    async with writer.service.connect(url, options=IMPATIENT) as publisher:
        ids = await _publish(publisher, writer, deliveries)
    async with reader.service.connect(url, options=IMPATIENT) as service:
        groups = _Groups(service, deliveries)
        await service.start()
        await groups.judge(ids)


async def handle_new(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Publish events to groups of the other version."""
    async with (
        reader.service.connect(url, options=IMPATIENT) as service,
        writer.service.connect(url, options=IMPATIENT) as publisher,
    ):
        groups = _Groups(service, deliveries)
        await service.start()
        await groups.judge(await _publish(publisher, writer, deliveries))


async def handle_side_by_side(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Publish events while groups of both versions work: an instance that cannot read one leaves it to the others."""
    async with (
        reader.service.connect(url, options=PATIENT) as other,
        writer.service.connect(url, options=PATIENT) as service,
    ):
        groups = [_Groups(each, deliveries) for each in (other, service)]
        groups[0].attempts = groups[1].attempts
        for group in groups:
            await group.service.start()
        await groups[1].judge(await _publish(service, writer, deliveries))


async def receive(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Publish events to subscribers of the other version."""
    subscriptions: dict[str, EventSubscription[object]] = {}
    async with (
        reader.client.connect(url, options=IMPATIENT) as client,
        writer.service.connect(url, options=IMPATIENT) as publisher,
    ):
        async with AsyncExitStack() as stack:
            for name in {delivery.name for delivery in deliveries}:
                subscribing = member(client, "events", name).subscribe()
                subscriptions[name] = await stack.enter_async_context(subscribing)
            ids = await _publish(publisher, writer, deliveries)
            await runtime_of(client).connection.flush()  # the server has sent all events before it answers
        for events in subscriptions.values():  # they end, as they are closed
            async for received in events:
                assert received.id is not None
                ids[received.id].problem = None


async def _publish(publisher: Service, version: Version, deliveries: list[Delivery]) -> dict[str, Delivery]:
    """Publish the value of each delivery, and return the deliveries by the ids of their events."""
    ids: dict[str, Delivery] = {}
    for delivery in deliveries:
        published = await member(publisher, "events", delivery.name).publish(delivery.read(version))
        ids[published.id] = delivery
        delivery.sequence = published.sequence
    return ids


class _Groups:
    """The groups of one version for the events of all deliveries: one group for each event."""

    def __init__(self, service: Service, deliveries: list[Delivery]) -> None:
        self.service = service
        self.attempts: dict[str, list[int]] = defaultdict(list)
        for name in {delivery.name for delivery in deliveries}:
            member(service, "consumers", name, name).handle(self._handle)

    async def _handle(self, event: DeliveredEvent[Any]) -> None:  # Any: each event has its own type
        assert event.id is not None
        self.attempts[event.id].append(event.attempt)

    async def judge(self, ids: dict[str, Delivery]) -> None:
        """Wait until the groups have dealt with all events, and note those that were not handled at once."""
        connection = runtime_of(self.service).connection
        # The server counts an event as pending a moment after it confirms it, so that all may seem to be done.
        await eventually(lambda: _have_delivered(connection, ids.values()), within=SOON)
        await eventually(lambda: is_quiet(connection), within=SOON)
        for event_id, delivery in ids.items():
            attempts = self.attempts.get(event_id)
            if attempts is not None:
                delivery.problem = None if attempts == [1] else f"attempts {attempts}"


async def is_quiet(connection: Connection) -> bool:
    """Return whether no group has an event to deal with."""
    return all(
        info["num_pending"] == info["num_ack_pending"] == 0 for info in await _list_consumers(connection)
    )


async def _have_delivered(connection: Connection, deliveries: Iterable[Delivery]) -> bool:
    """Return whether the groups were given the last event of each name."""
    last = {delivery.name: delivery.sequence for delivery in deliveries}
    given = {
        info["config"]["filter_subject"].rpartition(".")[2]: info["delivered"]["stream_seq"]
        for info in await _list_consumers(connection)
    }
    return all(given[name] >= sequence for name, sequence in last.items())


async def _list_consumers(connection: Connection) -> list[Any]:  # Any: the server's JSON
    listed: Any = await call(connection, f"CONSUMER.LIST.{_STREAM}", {})  # Any: likewise
    assert listed["total"] == len(listed["consumers"])
    consumers: list[Any] = listed["consumers"]
    return consumers


async def keep_value(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Put values into buckets; the other version reads them."""
    async with (
        writer.service.connect(url, options=IMPATIENT) as service,
        reader.service.connect(url, options=IMPATIENT) as other,
    ):

        async def put(delivery: Delivery) -> None:
            key = f"k{deliveries.index(delivery)}"
            await member(service, "kv", delivery.name).put(key, delivery.read(writer))
            assert await member(other, "kv", delivery.name).get(key) is not None
            delivery.problem = None

        await for_each(deliveries, put)


async def keep_state(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Put values into state stores; another device of the same user, of the other version, reads them."""
    rules = {delivery.name: StoreRules(is_map=False) for delivery in deliveries}
    async with (
        state_platform(url, rules),
        writer.client.connect(url, options=IMPATIENT) as device,
        reader.client.connect(url, options=IMPATIENT) as other,
    ):

        async def put(delivery: Delivery) -> None:
            await member(device, "state", delivery.name).put(delivery.read(writer))
            assert await member(other, "state", delivery.name).get() is not None
            delivery.problem = None

        for delivery in deliveries:  # a store has one value
            await for_each([delivery], put)
