"""Sends one order through the service and follows it live, on a separate nats-server; cancels another; shows keys, and a deploy.

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

from change_demo import show_change
from keyed_demo import show_keys
from orders_participant import (
    CreateOrderRequest,
    CreateOrderRequestItem,
    GetOrderRequest,
    NotFoundError,
    OrdersClient,
    OrdersLiveRequest,
    OrdersProcessRun,
    OrdersService,
    ProcessOrderRequest,
)
from rich.console import Console
from rich.markup import escape
from rich.text import Text
from trellis_nats import JobEvent, NoResponders, TrellisError
from trellis_nats.testing import NatsServer

TIMEOUT = timedelta(seconds=60)
"""More than a slow machine needs; the demo takes about 8 s, 5 of them the contract's backoff before the second attempt."""

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
    """Start a server and the service, place an order, and follow it until it has shipped; then show a deploy."""
    async with asyncio.timeout(TIMEOUT.total_seconds()):
        async with NatsServer() as server:
            console.print(f"nats-server, process {server.pid}, on {server.url}")
            async with service_process(server.url) as process:
                console.print(f"orders service, process {process.pid}\n")
                await follow_one_order(console, server.url, process)
        await show_change(console)


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
    """Place an order and print everything that happens to it until it has shipped; then cancel another one."""
    async with (
        OrdersService.connect(url) as service,
        OrdersClient.connect(url) as client,
        service.jobs.follow() as job_events,
    ):
        await wait_until_served(client, process)
        async with client.feeds.orders.live(OrdersLiveRequest(customer_id="c-42")) as live:
            began = datetime.now(UTC)
            order = await place_order(client)
            run = await client.operations.orders.process.start(ProcessOrderRequest(order_id=order))
            console.print(f"RPC Orders.Create: order {order} is placed")
            console.print("Operation Orders.Process: started, it reports each step of the order")
            console.print("Feed Orders.Live: opened, it shows the orders of customer c-42 that ship\n")
            printing = asyncio.create_task(print_jobs(console, job_events, began))
            reporting = asyncio.create_task(print_progress(console, run, began))
            try:
                result = await run.result()
                await asyncio.wait_for(asyncio.gather(printing, reporting), timeout=5)
                event = (await anext(aiter(live))).event
            finally:
                printing.cancel()
                reporting.cancel()
        taken = (datetime.now(UTC) - began).total_seconds()
        console.print(
            f"\nOperation Orders.Process: the order is [bold]{result.status}[/bold], after {taken:.1f} s"
        )
        console.print(f"Feed Orders.Live: order {event.order_id} has shipped")
        await cancel_one_order(console, client)
        await show_keys(console, service)


async def wait_until_served(client: OrdersClient, process: asyncio.subprocess.Process) -> None:
    """Wait until the service answers."""
    while process.returncode is None:
        try:
            await client.rpc.orders.get(GetOrderRequest(order_id="none"))
        except NotFoundError:
            return
        except NoResponders:
            await asyncio.sleep(0.1)
    log = b"" if process.stderr is None else await process.stderr.read()
    raise RuntimeError(f"the service ended with code {process.returncode}:\n{log.decode(errors='replace')}")


async def place_order(client: OrdersClient) -> str:
    """Place an order; return its id."""
    request = CreateOrderRequest(
        customer_id="c-42", items=[CreateOrderRequestItem(product_id="p-7", quantity=2)]
    )
    return (await client.rpc.orders.create(request)).order_id


async def cancel_one_order(console: Console, client: OrdersClient) -> None:
    """Place another order, and cancel it while the payment gateway keeps it waiting."""
    order = await place_order(client)
    run = await client.operations.orders.process.start(ProcessOrderRequest(order_id=order))
    async for update in run.watch():
        if update.snapshot.progress is not None and update.snapshot.progress.step == "reserved":
            break
    snapshot = await run.cancel()
    console.print(f"\nAnother order, cancelled by its caller: the operation is {snapshot.state},", end=" ")
    status = ""
    while status != "cancelled":
        status = (await client.rpc.orders.get(GetOrderRequest(order_id=order))).status
    console.print(f"the order is [bold]{status}[/bold]")


def print_line(console: Console, markup: str) -> None:
    """Print a line of columns, of which the last ones may be empty."""
    line = Text.from_markup(markup)
    line.rstrip()
    console.print(line, soft_wrap=True)


async def print_progress(console: Console, run: OrdersProcessRun, began: datetime) -> None:
    """Print each progress of an operation with its time, until it has ended."""
    async for update in run.watch():
        progress = update.snapshot.progress
        if update.type in {"snapshot", "progress"} and progress is not None:
            seconds = (update.snapshot.updated_at - began).total_seconds()
            print_line(
                console,
                f"{seconds:7.3f} s  {'Orders.Process':<18} [cyan]{progress.step:<10}[/cyan] {'':<10} "
                f"[dim]{escape(progress.message)}[/dim]",
            )


async def print_jobs(console: Console, events: AsyncIterator[JobEvent], began: datetime) -> None:
    """Print each job event with its time, until the last job of the order has ended."""
    async for event in events:
        seconds = (event.at - began).total_seconds()
        detail = event.error or ""
        if event.progress is not None:
            detail = event.progress.message or ""
        colour = COLOURS.get(event.event, "default")
        attempt = f"attempt {event.tries}" if event.tries else ""
        print_line(
            console,
            f"{seconds:7.3f} s  {event.queue:<18} [{colour}]{event.event:<10}[/{colour}] {attempt:<10} "
            f"[dim]{escape(detail)}[/dim]",
        )
        if event.queue == "notify-warehouse" and event.event == "completed":
            return


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
