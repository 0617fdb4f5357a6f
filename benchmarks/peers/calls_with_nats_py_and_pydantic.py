"""A service by hand, with nats-py and pydantic: calls_with_nats_py_and_pydantic.py URL CALLS CONCURRENCY.

The service validates the request and writes the response as JSON; the client does the same, the other way round. It has no
errors, no trace, no limits, and does not cancel a handler whose caller is gone.
"""

# nats-py leaves most of its types open.
# pyright: basic

from __future__ import annotations

from typing import Annotated

from calls_workload import BODY, NAME, CallRates, measure_calls, report_calls  # type: ignore[import-not-found]  # a neighbour, which scripts find
from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import BaseModel, ConfigDict, Field


class Item(BaseModel):
    """A line of an order."""

    model_config = ConfigDict(strict=True, frozen=True, validate_by_name=True, validate_by_alias=True)

    product_id: Annotated[str, Field(alias="productId")]
    quantity: int


class Order(BaseModel):
    """A request, and a response."""

    model_config = ConfigDict(strict=True, frozen=True, validate_by_name=True, validate_by_alias=True)

    customer_id: Annotated[str, Field(alias="customerId")]
    items: list[Item]


def write(order: Order) -> bytes:
    """Write an order as JSON."""
    return order.model_dump_json(by_alias=True, exclude_unset=True).encode()


async def handle(request: Order) -> Order:
    """Answer with the request."""
    return request


async def rates(url: str, calls: int, concurrency: int) -> CallRates:
    """Measure."""
    service, client = Client(), Client()
    await service.connect(url)
    await client.connect(url)

    async def echo(message: Msg) -> None:
        await message.respond(write(await handle(Order.model_validate_json(message.data))))

    await service.subscribe(NAME, queue=NAME, cb=echo)
    await service.flush()
    await client.flush()
    request = Order.model_validate(BODY)

    async def call() -> Order:
        answer = await client.request(NAME, write(request), timeout=30)
        return Order.model_validate_json(answer.data)

    try:
        return await measure_calls(call, calls=calls, concurrency=concurrency)
    finally:
        await client.close()
        await service.close()


if __name__ == "__main__":
    report_calls(rates)
