"""A handler that cannot be called with what it gets is refused when it is registered, not at each attempt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from orders_participant import OrdersService
from trellis_nats import ConfigurationError, DownloadEndpoint, Options, Runtime

from tests.support.downloads import DOWNLOAD, FileRequest

Register = Callable[[OrdersService], Callable[[Any], object]]

SURFACES: dict[str, tuple[Register, str]] = {
    "queue": (lambda service: service.jobs.reserve_inventory.handle, "(job)"),
    "upcaster": (lambda service: service.jobs.reserve_inventory.upcast, "(old)"),
    "rpc": (lambda service: service.rpc.orders.create.handle, "(context, request)"),
    "operation": (lambda service: service.operations.orders.process.handle, "(operation)"),
    "group": (lambda service: service.consumers.shipped_audit.orders_shipped.handle, "(event)"),
}


async def without() -> None:
    """Takes nothing."""


async def three(_a: object, _b: object, _c: object) -> None:
    """Takes too much."""


async def named(*, job: object) -> None:
    """Takes it by name only."""


def plain() -> None:
    """Takes nothing."""


@pytest.fixture
def service() -> OrdersService:
    return OrdersService(Runtime(OrdersService.contract, Options()))


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("handler", [without, three, named])
def test_a_handler_that_does_not_take_what_it_gets_is_refused(
    service: OrdersService, surface: str, handler: Callable[..., object]
) -> None:
    register, expected = SURFACES[surface]
    function = plain if surface == "upcaster" else handler

    with pytest.raises(ConfigurationError) as refused:
        register(service)(function)

    assert f"must take {expected}" in str(refused.value)
    assert function.__name__ in str(refused.value)
    assert " at 0x" not in str(refused.value)


def test_a_feed_that_does_not_take_what_it_gets_is_refused(service: OrdersService) -> None:
    async def live(_request: object) -> AsyncIterator[object]:
        yield None

    handle: Any = service.feeds.orders.live.handle
    with pytest.raises(
        ConfigurationError, match=r"must take \(context, request\): too many positional arguments"
    ):
        handle(live)


@pytest.mark.parametrize("handler", [without, three, named])
def test_a_download_that_does_not_take_what_it_gets_is_refused(handler: Any) -> None:
    download = DownloadEndpoint[FileRequest](Runtime(OrdersService.contract, Options()), DOWNLOAD)

    with pytest.raises(ConfigurationError, match=r"must take \(context, request\): "):
        download.handle(handler)


def takes_any(*_: object) -> None:
    """Takes whatever it gets."""


def takes_more(_job: object, _more: int = 1) -> None:
    """Takes more, with a default."""


def takes_two(_more: int, _job: object) -> None:
    """Takes two."""


@pytest.mark.parametrize("handler", [takes_any, takes_more, partial(takes_two, 1), print])
def test_a_handler_that_can_be_called_is_taken(service: OrdersService, handler: Any) -> None:
    service.jobs.reserve_inventory.handle(handler)
