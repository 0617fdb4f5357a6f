"""Sends one order through the service and follows it live, on a separate nats-server; then shows concurrency keys.

`make demo` runs this. It leaves no process and no file behind.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from keyed_demo import show_keys
from orders_participant import CreateOrderRequest, CreateOrderRequestItem, OrdersClient, OrdersService
from rich.console import Console
from rich.markup import escape
from trellis_nats import JobEvent, NoResponders, TrellisError
from trellis_nats.testing import NatsServer

TIMEOUT = timedelta(seconds=60)
"""More than a slow machine needs; the demo takes about 9 s, 5 of them the contract's backoff before the second attempt."""

COLOURS = {"completed": "green", "retry": "yellow", "failed": "red", "dead": "red"}


async def main() -> int:
    """Run the demo; returns the exit code."""
    console = Console(highlight=False)
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
    demo = asyncio.create_task(run(console))
    stop = asyncio.create_task(interrupted.wait())
    await asyncio.wait((demo, stop), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not demo.done():
        demo.cancel()
        await asyncio.wait((demo,))
        console.print("interrupted; nothing is left behind")
        return 130
    try:
        demo.result()
    except TimeoutError:
        console.print(f"[red]the order was not shipped within {TIMEOUT.total_seconds():g} s[/red]")
        return 1
    except (TrellisError, RuntimeError) as error:
        console.print(f"[red]the demo failed: {error}[/red]")
        return 1
    return 0


async def run(console: Console) -> None:
    """Start a server and the service, place an order, and follow it until it has shipped."""
    async with asyncio.timeout(TIMEOUT.total_seconds()), NatsServer() as server:
        console.print(f"nats-server, process {server.pid}, on {server.url}")
        async with service_process(server.url) as process:
            console.print(f"orders service, process {process.pid}\n")
            await follow_one_order(console, server.url, process)


@asynccontextmanager
async def service_process(url: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run the service as a separate process. Its stderr is shown when it ends too early."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("main.py")),
        env={**os.environ, "NATS_URL": url, "ABSENT_USES": "notifications"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


async def follow_one_order(console: Console, url: str, process: asyncio.subprocess.Process) -> None:
    """Place an order and print everything that happens to it, until it has shipped."""
    async with (
        OrdersService.connect(url) as service,
        OrdersClient.connect(url) as client,
        service.jobs.follow() as job_events,
        client.events.orders.shipped.subscribe() as shipped,
    ):
        began = datetime.now(UTC)
        order = await place_order(client, process)
        console.print(f"Orders.Create → order {order}\n")
        printing = asyncio.create_task(print_jobs(console, job_events, began))
        try:
            async for event in shipped:
                if event.event.order_id == order:
                    break
            await asyncio.wait_for(printing, timeout=5)
        finally:
            printing.cancel()
        taken = (datetime.now(UTC) - began).total_seconds()
        console.print(f"\nOrders.Shipped → order {order}, after {taken:.1f} s")
        stored = await service.kv.orders.get(order)
        console.print(f"stored as [bold]{stored.value.status if stored else 'nothing'}[/bold]")
        await show_keys(console, service)


async def place_order(client: OrdersClient, process: asyncio.subprocess.Process) -> str:
    """Place an order as soon as the service answers; return its id."""
    request = CreateOrderRequest(
        customer_id="c-42", items=[CreateOrderRequestItem(product_id="p-7", quantity=2)]
    )
    while process.returncode is None:
        try:
            return (await client.rpc.orders.create(request)).order_id
        except NoResponders:
            await asyncio.sleep(0.1)
    log = b"" if process.stderr is None else await process.stderr.read()
    raise RuntimeError(f"the service ended with code {process.returncode}:\n{log.decode(errors='replace')}")


async def print_jobs(console: Console, events: AsyncIterator[JobEvent], began: datetime) -> None:
    """Print each job event with its time, until the last job of the order has ended."""
    async for event in events:
        seconds = (event.at - began).total_seconds()
        detail = event.error or ""
        if event.progress is not None:
            detail = event.progress.message or ""
        colour = COLOURS.get(event.event, "default")
        attempt = f"attempt {event.tries}" if event.tries else ""
        console.print(
            f"{seconds:7.3f} s  {event.queue:<18} [{colour}]{event.event:<10}[/{colour}] {attempt:<10}",
            f"[dim]{escape(detail)}[/dim]",
            soft_wrap=True,
        )
        if event.queue == "notify-warehouse" and event.event == "completed":
            return


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
