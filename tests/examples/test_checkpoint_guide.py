"""The handler of the guide to jobs continues where its first attempt ended."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

import orders_participant
from orders_participant import (
    OrdersService,
    ReserveInventoryPayload,
    ReserveInventoryPayloadItem,
    ReserveInventoryResult,
)
from trellis_nats import JobRetry
from trellis_nats.testing import NatsServer

from tests.support.guide_sections import read_sections

GUIDE: Final = Path(__file__).parents[2] / "docs/guides/jobs.md"
SOON: Final = timedelta(seconds=20)


class Stock:
    """Fails once, at the second item."""

    def __init__(self) -> None:
        self.reserved: list[str] = []
        self.has_failed = False

    async def reserve(self, order_id: str, item: ReserveInventoryPayloadItem) -> None:
        """Reserve an item of an order."""
        assert order_id == "o-1"
        if len(self.reserved) == 1 and not self.has_failed:
            self.has_failed = True
            raise JobRetry("the stock is away", after=timedelta(0))
        self.reserved.append(item.product_id)


async def test_the_handler_of_the_guide_continues(nats_server: NatsServer) -> None:
    (block,) = read_sections(GUIDE)["Continue where an attempt ended"]
    async with OrdersService.connect(nats_server.url) as service:
        stock = Stock()
        exec(block.text, {**vars(orders_participant), "service": service, "stock": stock})  # noqa: S102 - the guide's own code
        items = [ReserveInventoryPayloadItem(product_id=product, quantity=1) for product in ("a", "b", "c")]
        await service.jobs.start_workers()
        ref = await service.jobs.reserve_inventory.create(
            ReserveInventoryPayload(order_id="o-1", items=items)
        )

        assert await ref.result(timeout=SOON) == ReserveInventoryResult(reserved=True)
        assert stock.reserved == ["a", "b", "c"], "nothing is reserved twice"
        assert (await ref.get()).last_checkpoint == {"items": ["a", "b", "c"]}
