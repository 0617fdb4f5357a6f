"""`run` sets Python's garbage collector where the program asks for it, and leaves it alone otherwise."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import pytest
from trellis_nats import ConfigurationError, Options
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.probe import is_ready
from tests.support.shop import ParcelJob, Receipt, Shop


@pytest.fixture(autouse=True)
def same_threshold() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)


@asynccontextmanager
async def running(
    url: str, *, freeze_gc: bool = False, gc_threshold: int | None = None
) -> AsyncGenerator[None]:
    async with Shop.connect(url, options=Options(health_listen="0")) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.tries)

        task = asyncio.create_task(shop.run(freeze_gc=freeze_gc, gc_threshold=gc_threshold))
        await eventually(lambda: is_ready(shop.health.address or ""))
        yield
        task.cancel()
        await asyncio.wait((task,))


async def test_the_collector_is_left_as_it_is(nats_server: NatsServer) -> None:
    threshold, frozen = gc.get_threshold(), gc.get_freeze_count()
    async with running(nats_server.url):
        assert gc.get_threshold() == threshold
        assert gc.get_freeze_count() <= frozen, "fewer, where a frozen object is no longer needed"


async def test_what_exists_is_frozen_and_the_threshold_set_where_that_was_asked_for(
    nats_server: NatsServer,
) -> None:
    (_, *others), frozen = gc.get_threshold(), gc.get_freeze_count()
    kept = [{"loaded": [number]} for number in range(100)]
    async with running(nats_server.url, freeze_gc=True, gc_threshold=10_000):
        assert gc.get_threshold() == (10_000, *others)
        assert gc.get_freeze_count() >= frozen + len(kept)


@pytest.mark.parametrize("threshold", [0, -1])
async def test_a_threshold_that_would_turn_the_collector_off_is_refused(
    nats_server: NatsServer, threshold: int
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        with pytest.raises(ConfigurationError, match=f"gc_threshold must be positive, got {threshold}"):
            await shop.run(gc_threshold=threshold)
