"""FastStream's RPC on core NATS, in .venv/peers: calls_with_faststream.py URL CALLS CONCURRENCY.

A subscriber with a pydantic model, whose returned model is the reply; `broker.request` of another broker.
"""

# It runs in .venv/peers only: in the environment of the checkers its imports, and all that comes from them, are unknown.
# pyright: basic, reportMissingImports=false
# mypy: disable-error-code="import-not-found, no-any-return, untyped-decorator"

from __future__ import annotations

from calls_workload import BODY, NAME, CallRates, measure_calls, report_calls
from faststream.nats import NatsBroker
from pydantic import BaseModel, ConfigDict


class Item(BaseModel):
    """A line of an order."""

    model_config = ConfigDict(strict=True)

    productId: str  # noqa: N815 - the name on the wire
    quantity: int


class Order(BaseModel):
    """A request, and a response."""

    model_config = ConfigDict(strict=True)

    customerId: str  # noqa: N815 - the name on the wire
    items: list[Item]


async def rates(url: str, calls: int, concurrency: int) -> CallRates:
    """Measure."""
    service, client = NatsBroker(url, logger=None), NatsBroker(url, logger=None)

    @service.subscriber(NAME, max_workers=concurrency)
    async def echo(order: Order) -> Order:
        return order

    await service.start()
    await client.start()
    request = Order.model_validate(BODY)

    async def call() -> Order:
        answer = await client.request(request, NAME, timeout=30)
        return Order.model_validate(await answer.decode())

    try:
        return await measure_calls(call, calls=calls, concurrency=concurrency)
    finally:
        await client.stop()
        await service.stop()


if __name__ == "__main__":
    report_calls(rates)
