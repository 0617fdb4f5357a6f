"""What `connect` returns says how it is used, wherever it is used without its block."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import trellis_admin
from orders_participant import OrdersClient, OrdersService
from trellis_nats import BlockNotEntered, ConfigurationError, SessionKey

URL = "nats://127.0.0.1:4222"

Use = Callable[[Any], object]  # Any: type checkers refuse every one of these uses


def read_jobs(block: Any) -> object:  # Any: likewise
    return block.jobs


def enter(block: Any) -> None:  # Any: likewise
    with block:
        pytest.fail("the block was entered")


def enter_async(block: Any) -> None:  # Any: likewise
    async def run() -> None:
        async with block:
            pytest.fail("the block was entered")

    asyncio.run(run())


def wait(block: Any) -> None:  # Any: likewise
    async def run() -> None:
        await block

    asyncio.run(run())


@pytest.mark.parametrize(
    ("block", "call", "variable"),
    [
        (OrdersService.connect(URL), "OrdersService.connect(…)", "service"),
        (
            OrdersService.join("https://example.com", key=SessionKey(bytes(32))),
            "OrdersService.join(…)",
            "service",
        ),
        (OrdersClient.connect(URL), "OrdersClient.connect(…)", "client"),
        (trellis_admin.connect(URL), "trellis_admin.connect(…)", "operator"),
    ],
)
@pytest.mark.parametrize("use", [read_jobs, wait, enter])
def test_a_connection_without_async_with_names_the_statement(
    block: object, call: str, variable: str, use: Use
) -> None:
    with pytest.raises(BlockNotEntered) as caught:
        use(block)

    assert str(caught.value) == (
        f"{call} connects only in a block: write `async with {call} as {variable}:`, and use `{variable}` inside"
    )
    assert caught.value.__notes__[0].startswith("Remedy: Write the block that the text names.")


@pytest.mark.parametrize(
    ("block", "call", "variable"),
    [
        (OrdersService.connect_blocking(URL), "OrdersService.connect_blocking(…)", "service"),
        (OrdersClient.connect_blocking(URL), "OrdersClient.connect_blocking(…)", "client"),
    ],
)
@pytest.mark.parametrize("use", [read_jobs, wait, enter_async])
def test_a_blocking_connection_without_with_names_the_statement(
    block: object, call: str, variable: str, use: Use
) -> None:
    with pytest.raises(BlockNotEntered) as caught:
        use(block)

    assert str(caught.value) == (
        f"{call} connects only in a block: write `with {call} as {variable}:`, and use `{variable}` inside"
    )


def test_the_error_is_one_of_configuration_and_hides_no_attribute() -> None:
    block = OrdersService.connect(URL)

    assert not hasattr(block, "jobs"), "an AttributeError, so that programs can ask"
    assert issubclass(BlockNotEntered, ConfigurationError)
