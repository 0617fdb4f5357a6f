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


CONNECTIONS: list[tuple[str, object, str, str]] = [
    ("async with", OrdersService.connect(URL), "OrdersService.connect(…)", "service"),
    (
        "async with",
        OrdersService.join("https://example.com", key=SessionKey(bytes(32))),
        "OrdersService.join(…)",
        "service",
    ),
    ("async with", OrdersClient.connect(URL), "OrdersClient.connect(…)", "client"),
    ("async with", trellis_admin.connect(URL), "trellis_admin.connect(…)", "operator"),
    ("with", OrdersService.connect_blocking(URL), "OrdersService.connect_blocking(…)", "service"),
    ("with", OrdersClient.connect_blocking(URL), "OrdersClient.connect_blocking(…)", "client"),
]
OTHER_STATEMENT: dict[str, Use] = {"async with": enter, "with": enter_async}


@pytest.mark.parametrize(
    ("statement", "block", "call", "variable", "use"),
    [
        (statement, block, call, variable, use)
        for statement, block, call, variable in CONNECTIONS
        for use in (read_jobs, wait, OTHER_STATEMENT[statement])
    ],
)
def test_a_connection_used_without_its_block_names_the_statement(
    statement: str, block: object, call: str, variable: str, use: Use
) -> None:
    with pytest.raises(BlockNotEntered) as caught:
        use(block)

    assert str(caught.value) == (
        f"{call} connects only in a block: write `{statement} {call} as {variable}:`, and use `{variable}` inside"
    )
    assert caught.value.__notes__[0].startswith("Remedy: Write the block that the text names.")


def test_the_error_is_one_of_configuration_and_hides_no_attribute() -> None:
    block = OrdersService.connect(URL)

    assert not hasattr(block, "jobs"), "an AttributeError, so that programs can ask"
    assert issubclass(BlockNotEntered, ConfigurationError)
