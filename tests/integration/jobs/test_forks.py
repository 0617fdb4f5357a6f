"""Handlers that fork: no child stops the service, and none keeps the connection of a worker that died."""

import os
import signal
from datetime import timedelta

import pytest
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.forking_process import forking_process
from tests.support.shop import Parcel, Shop

SOON = timedelta(seconds=30)
LOOPS = ("asyncio", "uvloop")
ENDS = {
    "terminate": -signal.SIGTERM,
    "interrupt": 1,  # by a KeyboardInterrupt of its own
    "hang_up": -signal.SIGHUP,
    "pool": 3,
    "fork": -signal.SIGTERM,
    "executor": -signal.SIGTERM,
    "stray": 1,
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("queue", ["pack", "charge"])
async def test_the_end_of_a_forked_child_does_not_stop_the_service(
    nats_server: NatsServer, loop: str, queue: str
) -> None:
    async with Shop.connect(nats_server.url) as shop, forking_process(nats_server.url, loop) as worker:
        jobs = {"pack": shop.jobs.pack, "charge": shop.jobs.charge}[queue]
        ends: dict[str, int] = {}
        for way in ENDS:
            if queue == "charge" and way == "stray":
                continue  # the child of a thread has no event loop to return to
            ref = await jobs.create(Parcel(number=0, note=way))
            ends[way] = (await ref.result(timeout=SOON)).total

        assert ends == {way: ENDS[way] for way in ends}
        worker.process.terminate()
        await worker.wait_for("stopped")
        assert await worker.process.wait() == 0


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("queue", ["pack", "charge"])
async def test_the_children_of_a_dead_worker_do_not_keep_its_connection(
    nats_server: NatsServer, loop: str, queue: str
) -> None:
    """The server sees the connections end, and gives no more work to the dead worker."""
    async with Shop.connect(nats_server.url) as shop, forking_process(nats_server.url, loop) as worker:
        jobs = {"pack": shop.jobs.pack, "charge": shop.jobs.charge}[queue]
        await jobs.create(Parcel(number=0, note="leave"))
        (child,) = await worker.wait_for("child")
        try:
            worker.process.kill()
            other = "charge" if queue == "pack" else "pack"

            async def no_worker_waits() -> bool:
                connection = shop.jobs.runtime.connection
                info = await get_consumer_info(connection, "JOBS_WORK", f"shop__{other}")
                return info is not None and info.waiting == 0

            await eventually(no_worker_waits)
        finally:
            os.kill(int(child), signal.SIGKILL)
