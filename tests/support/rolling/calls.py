"""RPCs, their errors, and feeds, between two versions of a contract: one calls, the other serves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from trellis_nats import Client, DeclaredError, FeedContext, RpcContext, Service

from tests.support.rolling.deliveries import IMPATIENT, Delivery, for_each
from tests.support.rolling.versions import Version, member

__all__ = ["answer", "call", "open_feed", "raise_error", "send_feed_event"]


async def call(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Call a service of the other version."""

    async def serve(context: RpcContext, request: Any) -> Any:  # Any: each RPC has its own types
        return True

    async def send(client: Client, delivery: Delivery) -> None:
        await member(client, "rpc", delivery.name)(delivery.read(writer))
        delivery.problem = None

    async with (
        reader.service.connect(url, options=IMPATIENT) as service,
        writer.client.connect(url, options=IMPATIENT) as client,
    ):
        for name in {delivery.name for delivery in deliveries}:
            member(service, "rpc", name).handle(serve)
        await service.start()
        await for_each(deliveries, lambda delivery: send(client, delivery))


async def answer(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Answer calls of the other version."""

    async def serve(context: RpcContext, request: int) -> Any:  # Any: each RPC has its own types
        return deliveries[request].read(writer)

    async def ask(client: Client, delivery: Delivery) -> None:
        await member(client, "rpc", delivery.name)(deliveries.index(delivery))
        delivery.problem = None

    async with (
        writer.service.connect(url, options=IMPATIENT) as service,
        reader.client.connect(url, options=IMPATIENT) as client,
    ):
        for name in {delivery.name for delivery in deliveries}:
            member(service, "rpc", name).handle(serve)
        await service.start()
        await for_each(deliveries, lambda delivery: ask(client, delivery))


async def raise_error(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Answer calls of the other version with a declared error, which its caller catches by its class."""

    async def serve(context: RpcContext, request: int) -> Any:  # Any: each RPC has its own types
        delivery = deliveries[request]
        raise _error_of(writer, delivery)("no", value=delivery.read(writer).value)

    async def ask(client: Client, delivery: Delivery) -> None:
        try:
            await member(client, "rpc", delivery.name)(deliveries.index(delivery))
        except _error_of(reader, delivery):
            delivery.problem = None

    async with (
        writer.service.connect(url, options=IMPATIENT) as service,
        reader.client.connect(url, options=IMPATIENT) as client,
    ):
        for name in {delivery.name for delivery in deliveries}:
            member(service, "rpc", name).handle(serve)
        await service.start()
        await for_each(deliveries, lambda delivery: ask(client, delivery))


def _error_of(version: Version, delivery: Delivery) -> type[DeclaredError]:
    found: type[DeclaredError] = getattr(version.package, f"{delivery.name}Error")
    return found


async def open_feed(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Open feeds of a service of the other version."""

    async def serve(
        context: FeedContext, request: Any
    ) -> AsyncIterator[Any]:  # Any: each feed has its own types
        yield True

    async def listen(client: Client, delivery: Delivery) -> None:
        async with member(client, "feeds", delivery.name)(delivery.read(writer)) as events:
            async for _ in events:
                delivery.problem = None

    async with (
        reader.service.connect(url, options=IMPATIENT) as service,
        writer.client.connect(url, options=IMPATIENT) as client,
    ):
        await _serve_feeds(service, deliveries, serve)
        await for_each(deliveries, lambda delivery: listen(client, delivery))


async def send_feed_event(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Send the events of feeds to listeners of the other version."""

    async def serve(
        context: FeedContext, request: int
    ) -> AsyncIterator[Any]:  # Any: each feed has its own types
        yield deliveries[request].read(writer)

    async def listen(client: Client, delivery: Delivery) -> None:
        async with member(client, "feeds", delivery.name)(deliveries.index(delivery)) as events:
            async for _ in events:
                delivery.problem = None

    async with (
        writer.service.connect(url, options=IMPATIENT) as service,
        reader.client.connect(url, options=IMPATIENT) as client,
    ):
        await _serve_feeds(service, deliveries, serve)
        await for_each(deliveries, lambda delivery: listen(client, delivery))


async def _serve_feeds(service: Service, deliveries: list[Delivery], handler: object) -> None:
    for name in {delivery.name for delivery in deliveries}:
        member(service, "feeds", name).handle(handler)
    await service.start()
