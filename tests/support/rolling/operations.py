"""Operations between two versions of a contract: those that start, wait and send signals, and those that run them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trellis_nats import Client, Service

from tests.support.eventually import eventually
from tests.support.rolling.deliveries import IMPATIENT, SOON, Delivery, for_each
from tests.support.rolling.versions import Version, member

__all__ = [
    "leave_signal_to_others",
    "leave_to_others",
    "read_kept_output",
    "read_kept_progress",
    "send_signal",
    "start",
    "wait_for_output",
    "watch_progress",
]


async def start(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Start operations in a service of the other version, and wait for their ends."""

    async def run(operation: Any) -> Any:  # Any: each operation has its own types
        return True

    async def ask(client: Client, delivery: Delivery) -> None:
        run = await member(client, "operations", delivery.name).start(delivery.read(writer))
        await run.result(timeout=SOON)
        delivery.problem = None

    async with (
        reader.service.connect(url, options=IMPATIENT) as service,
        writer.client.connect(url, options=IMPATIENT) as client,
    ):
        await _serve(service, deliveries, run)
        await for_each(deliveries, lambda delivery: ask(client, delivery))


async def leave_to_others(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Start operations; their process stops before they end, and one of the other version goes on with them."""
    runs: dict[Delivery, Any] = {}  # Any: likewise
    begun: set[str] = set()

    async def begin(operation: Any) -> Any:  # Any: likewise
        begun.add(operation.id)
        await operation.cancelled.wait()

    async def finish(operation: Any) -> Any:  # Any: likewise
        return True

    async with writer.client.connect(url, options=IMPATIENT) as client:

        async def ask(delivery: Delivery) -> None:
            runs[delivery] = await member(client, "operations", delivery.name).start(delivery.read(writer))
            await eventually(lambda: runs[delivery].id in begun, within=SOON)

        async def wait(delivery: Delivery) -> None:
            await runs[delivery].result(timeout=SOON)
            delivery.problem = None

        async with writer.service.connect(url, options=IMPATIENT) as service:
            await _serve(service, deliveries, begin, resume="run-again")
            await for_each(deliveries, ask)
        async with reader.service.connect(url, options=IMPATIENT) as service:
            await _serve(service, deliveries, finish, resume="run-again")
            await for_each(runs, wait)


async def wait_for_output(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Wait for the results of operations that the other version runs."""

    async def ask(client: Client, delivery: Delivery) -> None:
        run = await member(client, "operations", delivery.name).start(deliveries.index(delivery))
        await run.result(timeout=SOON)
        delivery.problem = None

    async with (
        writer.service.connect(url, options=IMPATIENT) as service,
        reader.client.connect(url, options=IMPATIENT) as client,
    ):
        await _serve(service, deliveries, _return_value(writer, deliveries))
        await for_each(deliveries, lambda delivery: ask(client, delivery))


async def read_kept_output(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """End operations; later, a caller and a service of the other version look at them."""

    async def look(client: Client, delivery: Delivery, operation_id: str) -> None:
        await member(client, "operations", delivery.name).ref(operation_id).result(timeout=SOON)
        delivery.problem = None

    ids = await _run_all(url, writer, deliveries, _return_value(writer, deliveries))
    async with (
        reader.service.connect(url, options=IMPATIENT) as service,
        reader.client.connect(url, options=IMPATIENT) as client,
    ):
        await _serve(service, deliveries, _refuse)
        await for_each(ids, lambda delivery: look(client, delivery, ids[delivery]))


async def watch_progress(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Watch the progress of operations that the other version runs."""

    async def ask(client: Client, delivery: Delivery) -> None:
        run = await member(client, "operations", delivery.name).start(deliveries.index(delivery))
        async for update in run.watch():
            if update.snapshot.is_terminal:
                _ = update.snapshot.progress  # None would be read without an error
                delivery.problem = None

    async with (
        writer.service.connect(url, options=IMPATIENT) as service,
        reader.client.connect(url, options=IMPATIENT) as client,
    ):
        await _serve(service, deliveries, _report_value(writer, deliveries))
        await for_each(deliveries, lambda delivery: ask(client, delivery))


async def read_kept_progress(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Report progress; later, a caller and a service of the other version look at it."""

    async def look(client: Client, delivery: Delivery, operation_id: str) -> None:
        snapshot = await member(client, "operations", delivery.name).ref(operation_id).get()
        _ = snapshot.progress
        delivery.problem = None

    ids = await _run_all(url, writer, deliveries, _report_value(writer, deliveries))
    async with (
        reader.service.connect(url, options=IMPATIENT) as service,
        reader.client.connect(url, options=IMPATIENT) as client,
    ):
        await _serve(service, deliveries, _refuse)
        await for_each(ids, lambda delivery: look(client, delivery, ids[delivery]))


async def send_signal(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Send signals to operations that the other version runs."""

    async def take(operation: Any) -> Any:  # Any: each operation has its own types
        await anext(operation.signals())
        return True

    async def ask(client: Client, delivery: Delivery) -> None:
        run = await member(client, "operations", delivery.name).start(True)
        await run.signal.go(delivery.read(writer))
        await run.result(timeout=SOON)
        delivery.problem = None

    async with (
        reader.service.connect(url, options=IMPATIENT) as service,
        writer.client.connect(url, options=IMPATIENT) as client,
    ):
        await _serve(service, deliveries, take)
        await for_each(deliveries, lambda delivery: ask(client, delivery))


async def leave_signal_to_others(
    url: str, writer: Version, reader: Version, deliveries: list[Delivery]
) -> None:
    """Send signals to operations; their process stops, and one of the other version goes on with them."""
    runs: dict[Delivery, Any] = {}  # Any: each operation has its own types

    async def wait(operation: Any) -> Any:  # Any: likewise
        await operation.cancelled.wait()

    async def take(operation: Any) -> Any:  # Any: likewise
        await anext(operation.signals())
        return True

    async with writer.client.connect(url, options=IMPATIENT) as client:

        async def send(delivery: Delivery) -> None:
            runs[delivery] = await member(client, "operations", delivery.name).start(True)
            await runs[delivery].signal.go(delivery.read(writer))

        async def look(delivery: Delivery) -> None:
            await runs[delivery].result(timeout=SOON)
            delivery.problem = None

        async with writer.service.connect(url, options=IMPATIENT) as service:
            await _serve(service, deliveries, wait, resume="run-again")
            await for_each(deliveries, send)
        async with reader.service.connect(url, options=IMPATIENT) as service:
            await _serve(service, deliveries, take, resume="run-again")
            await for_each(runs, look)


async def _run_all(
    url: str, version: Version, deliveries: list[Delivery], handler: Callable[..., Any]
) -> dict[Delivery, str]:
    """Run an operation for each delivery to its end, in one version."""
    ids: dict[Delivery, str] = {}
    async with (
        version.service.connect(url, options=IMPATIENT) as service,
        version.client.connect(url, options=IMPATIENT) as client,
    ):
        await _serve(service, deliveries, handler)

        async def ask(delivery: Delivery) -> None:
            run = await member(client, "operations", delivery.name).start(deliveries.index(delivery))
            await run.result(timeout=SOON)
            ids[delivery] = run.id

        await for_each(deliveries, ask)
    return ids


async def _serve(
    service: Service, deliveries: list[Delivery], handler: Callable[..., Any], *, resume: str = "fail"
) -> None:
    for name in {delivery.name for delivery in deliveries}:
        member(service, "operations", name).handle(resume=resume)(handler)
    await service.start()


def _return_value(version: Version, deliveries: list[Delivery]) -> Callable[..., Any]:
    async def run(operation: Any) -> Any:  # Any: each operation has its own types
        index: int = operation.input
        return deliveries[index].read(version)

    return run


def _report_value(version: Version, deliveries: list[Delivery]) -> Callable[..., Any]:
    async def run(operation: Any) -> Any:  # Any: each operation has its own types
        index: int = operation.input
        await operation.progress(deliveries[index].read(version))
        return True

    return run


async def _refuse(operation: Any) -> Any:  # Any: each operation has its own types
    raise AssertionError(operation.id)
