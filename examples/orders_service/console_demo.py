"""Shows the console on a nats-server of its own: the queues of the orders service, with jobs in every state that keep coming.

`make console` runs this until Ctrl-C; `make console PORT=8421` takes another port. It leaves no process and no file behind. Dead jobs appear after about 40 s: three attempts and
the backoff between them.
"""

import asyncio
import logging
import random
import sys
import tempfile
from datetime import timedelta
from functools import partial
from pathlib import Path

import trellis_admin
from orders_participant import (
    ChargePaymentJob,
    ChargePaymentPayload,
    ChargePaymentResult,
    NotifyWarehouseJob,
    NotifyWarehousePayload,
    NotifyWarehouseResult,
    OrdersService,
    PublishStockJob,
    PublishStockPayload,
    RefreshCatalogJob,
    RefreshCatalogPayload,
    ReserveInventoryJob,
    ReserveInventoryPayload,
    ReserveInventoryResult,
    SyncTicketsJob,
    SyncTicketsPayload,
    SyncTicketsResult,
)
from rich.console import Console
from trellis_admin.payloads import PayloadContract
from trellis_admin.web import Identity, LocalAccess, Role, Settings
from trellis_admin.web.protection import LOOPBACK
from trellis_admin.web.serving import listen, serve
from trellis_nats import JobFailed, Options, TrellisError
from trellis_nats.testing import NatsServer

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8420
SUPPLIERS = ("north", "south", "east")
ACCOUNTS = ("acme", "globex", "initech", "hooli")
DICE = random.Random()  # noqa: S311 - it makes no secret
OUT_OF_STOCK, DECLINED, SILENT = 0.03, 0.1, 0.7
"""How often each kind of handler fails."""
FEW = 4
"""Every fourth order is paid for, and every fourth one is sent."""
ENOUGH = 12
"""How many dead jobs an operator waits for."""


class GatewayTimeout(Exception):
    """The payment gateway did not answer."""


class OutOfStock(Exception):
    """There is not enough of a product."""


def register(service: OrdersService) -> None:
    """Register handlers that take their time, and sometimes fail."""
    register_orders(service)
    register_keyed(service)
    service.consumers.shipped_audit.leave_to_others()


def register_orders(service: OrdersService) -> None:
    """Register the handlers of an order."""

    @service.jobs.reserve_inventory.handle
    async def reserve_inventory(_job: ReserveInventoryJob) -> ReserveInventoryResult:
        await asyncio.sleep(DICE.uniform(0.05, 0.4))
        if DICE.random() < OUT_OF_STOCK:
            raise OutOfStock(f"product p-{DICE.randrange(900)} has 0 left, {DICE.randrange(1, 9)} wanted")
        return ReserveInventoryResult(reserved=True)

    @service.jobs.charge_payment.handle
    async def charge_payment(job: ChargePaymentJob) -> ChargePaymentResult:
        await job.progress(step="authorise", message="Asking the payment gateway", current=1, total=3)
        await job.log(f"order {job.payload.order_id}: {job.payload.amount_cents:.0f} cents")
        await asyncio.sleep(DICE.uniform(0.5, 4))
        if DICE.random() < DECLINED:
            raise JobFailed("CardDeclined: insufficient_funds")
        await job.progress(step="receipt", message="Writing the receipt", current=3, total=3)
        return ChargePaymentResult(charge_id=f"ch_{job.id[-8:]}")

    @service.jobs.notify_warehouse.handle
    async def notify_warehouse(job: NotifyWarehouseJob) -> NotifyWarehouseResult:
        await job.log("calling the warehouse", level="warn" if job.tries > 1 else "info")
        if DICE.random() < SILENT:
            waited = DICE.uniform(29, 31)
            raise GatewayTimeout(
                f"POST https://warehouse.internal/v2/orders did not answer within {waited:.1f} s"
            )
        return NotifyWarehouseResult(notified=True)


def register_keyed(service: OrdersService) -> None:
    """Register the handlers of queues whose jobs have keys."""

    @service.jobs.sync_tickets.handle
    async def sync_tickets(job: SyncTicketsJob) -> SyncTicketsResult:
        for current in range(1, 21):
            await job.progress(message=f"reading {current} of 20 pages", current=current, total=20)
            await asyncio.sleep(DICE.uniform(0.5, 1.5))
        return SyncTicketsResult(synced=DICE.randrange(100))

    @service.jobs.refresh_catalog.handle
    async def refresh_catalog(_job: RefreshCatalogJob) -> None:
        await asyncio.sleep(DICE.uniform(2, 6))

    @service.jobs.publish_stock.handle
    async def publish_stock(_job: PublishStockJob) -> None:
        await asyncio.sleep(DICE.uniform(0.1, 0.6))


async def create_jobs(service: OrdersService) -> None:
    """Create jobs of every queue, again and again; a few expire, some wait for their time."""
    jobs, number = service.jobs, 0
    while True:
        number += 1
        order = f"o-{number}"
        await jobs.reserve_inventory.create(ReserveInventoryPayload(order_id=order, items=[]))
        if number % FEW == 0:
            await jobs.charge_payment.create(
                ChargePaymentPayload(order_id=order, customer_id=f"c-{number % 50}", amount_cents=12990)
            )
            await jobs.notify_warehouse.create(NotifyWarehousePayload(order_id=order, items=[]))
        if number % 5 == 0:
            await jobs.sync_tickets.submit(SyncTicketsPayload(origin=DICE.choice(ACCOUNTS)))
            await jobs.refresh_catalog.submit(RefreshCatalogPayload(supplier=DICE.choice(SUPPLIERS)))
        for quantity in (9, 8):
            await jobs.publish_stock.submit(
                PublishStockPayload(product_id=f"p-{number % 3}", quantity=quantity)
            )
        if number % 30 == 1:
            later = ChargePaymentPayload(order_id=f"{order}-later", customer_id="c-7", amount_cents=500)
            await jobs.charge_payment.create(later, delay=timedelta(minutes=10))
            await (await jobs.charge_payment.create(later, delay=timedelta(minutes=20))).cancel()
            await jobs.charge_payment.create(later, deadline=timedelta(seconds=0.5))
        await asyncio.sleep(0.5)


async def act(url: str, database: Path) -> None:
    """Do what operators do, so that the audit log, a pause and bulk actions are there to be seen."""
    async with trellis_admin.connect(
        url, actor="support-lead", source="command line", db=database
    ) as operator:
        while len((dead := await operator.jobs("state:dead", limit=ENOUGH)).rows) < ENOUGH:
            await asyncio.sleep(5)
            await operator.catch_up()
        await operator.pause("refresh-catalog", reason="the supplier's API answers 429, INC-2291")
        await operator.dismiss(dead.rows[0], reason="the customer cancelled the order")
        await operator.reveal(dead.rows[1])
        plan = await operator.bulk.plan("replay", "state:dead queue:notify-warehouse")
        await operator.bulk.start(plan, confirm=plan.count, reason="the warehouse is back, INC-2287")


async def main() -> None:
    """Start a server, the service and the console."""
    logging.getLogger("trellis_nats").setLevel(logging.CRITICAL)  # handlers fail on purpose
    with tempfile.TemporaryDirectory() as folder, listen("127.0.0.1", PORT) as listening:
        database = Path(folder) / "jobs.sqlite"
        # Ctrl-C ends it at once: what runs is thrown away in any case.
        options = Options(shutdown_grace=timedelta(seconds=1))
        async with NatsServer() as server, OrdersService.connect(server.url, options=options) as service:
            register(service)
            settings = Settings(
                server=server.url,
                options=Options(),
                database=database,
                access=LocalAccess(Identity("oncall-eu", Role.OPERATOR)),
                contracts=(PayloadContract.of(OrdersService),),
                label="demo",
            )
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(work)
                    for work in (service.run(), create_jobs(service), act(server.url, database))
                ]
                await serve(
                    settings,
                    listening,
                    hosts=LOOPBACK,
                    ready=partial(
                        Console().print, f"The console is at http://127.0.0.1:{PORT}/; Ctrl-C ends it."
                    ),
                )
                for task in tasks:
                    task.cancel()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except* TrellisError as failed:
        sys.exit(f"the console ended: {failed.exceptions[0]} (make console PORT=…)")
