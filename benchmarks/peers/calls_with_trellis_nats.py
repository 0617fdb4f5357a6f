"""Our RPC: calls_with_trellis_nats.py URL CALLS CONCURRENCY.

Request and response are validated by both sides; the caller's timeout travels, and would cancel the handler.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Final

from calls_workload import BODY, NAME, CallRates, measure_calls, report_calls  # type: ignore[import-not-found]  # a neighbour, which scripts find
from pydantic import Field
from trellis_nats import (
    RUNTIME_API,
    Client,
    Contract,
    Model,
    RpcCall,
    RpcContext,
    RpcEndpoint,
    RpcSpec,
    Runtime,
    Service,
)

CONTRACT: Final = Contract(id="bench@v1", digest="b" * 43, generator="0", runtime_api=RUNTIME_API)


class Item(Model):
    """A line of an order."""

    product_id: Annotated[str, Field(alias="productId")]
    quantity: int


class Order(Model):
    """A request, and a response."""

    customer_id: Annotated[str, Field(alias="customerId")]
    items: list[Item]


ECHO: Final = RpcSpec(name="Bench.Echo", subject=NAME, input=Order, output=Order)


class BenchService(Service):
    """The service."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.echo: Final = RpcEndpoint[Order, Order](runtime, ECHO)


class BenchClient(Client):
    """The client."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.echo: Final = RpcCall[Order, Order](runtime, ECHO)


async def rates(url: str, calls: int, concurrency: int) -> CallRates:
    """Measure."""
    async with BenchService.connect(url) as service, BenchClient.connect(url) as client:

        @service.echo.handle
        async def echo(context: RpcContext, request: Order) -> Order:  # noqa: ARG001 - the handler's signature
            return request

        await service.start()
        request, timeout = Order.model_validate(BODY), timedelta(seconds=30)
        return await measure_calls(
            lambda: client.echo(request, timeout=timeout), calls=calls, concurrency=concurrency
        )


if __name__ == "__main__":
    report_calls(rates)
