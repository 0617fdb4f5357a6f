"""What `connect` returns says how it is used, wherever it is used without its block."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import trellis_admin
from orders_participant import OrdersClient, OrdersService
from trellis_nats import BlockNotEntered, CannotConnect, ConfigurationError, Options, SessionKey

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


@pytest.mark.parametrize("is_async", [True, False])
def test_a_connection_for_a_second_block_says_that_it_is_for_one(*, is_async: bool) -> None:
    nowhere = "nats://127.0.0.1:1"
    options = Options(connect_timeout=timedelta(milliseconds=1))
    statement, enter_again, block = (
        ("async with", enter_async, OrdersClient.connect(nowhere, options=options))
        if is_async
        else ("with", enter, OrdersClient.connect_blocking(nowhere, options=options))
    )
    with pytest.raises(CannotConnect):
        enter_again(block)

    with pytest.raises(
        BlockNotEntered, match=f"connects once, for one block: write `{statement} OrdersClient"
    ):
        enter_again(block)


def test_the_error_is_one_of_configuration_and_hides_no_attribute() -> None:
    block = OrdersService.connect(URL)

    assert not hasattr(block, "jobs"), "an AttributeError, so that programs can ask"
    assert issubclass(BlockNotEntered, ConfigurationError)
