"""A stream that a power cut rolled back, while the work stream kept what it had."""

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path

from trellis_nats import Maintenance, Options
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.lost_work import has_work
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON = timedelta(seconds=10)
OFTEN = Options(
    maintenance=Maintenance(
        rescue_every=timedelta(milliseconds=20), purge_every=None, lost_after=timedelta(0)
    )
)


def events_of(server: NatsServer) -> Path:
    """Return where the server stores the job events."""
    (found,) = server.store.rglob("streams/JOBS")
    return found


async def full_scan() -> None:
    """Wait for a complete scan of the stream that starts after this call."""
    with LogSignals() as signals:
        await signals.wait_for(LogEvent.LOST_JOBS_SEARCHED, count=2)  # one scan may already run


async def test_jobs_that_a_rolled_back_stream_accepts_are_rescued(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """JOBS_WORK sources nothing until JOBS is as long as it was: only the job rescuer can enqueue them.

    It used to continue where its last scan ended, a position that the stream no longer had.
    """
    async with Shop.connect(nats_server.url, options=OFTEN) as shop:
        nats_server.terminate()
        await asyncio.to_thread(shutil.copytree, events_of(nats_server), tmp_path / "older")
        await asyncio.to_thread(nats_server.restart)

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.payload.number)

        await shop.jobs.start_workers()
        for ref in await shop.jobs.pack.create_many(Parcel(number=n) for n in range(10)):
            await ref.result(timeout=SOON)
        # No worker takes it, so that its message stays: a delayed job would be parked in another stream.
        await shop.jobs.weigh.create(Parcel(number=-1))
        await eventually(
            lambda: has_work(shop, 1)
        )  # from this message the server knows how far it had sourced
        await full_scan()
        nats_server.terminate()
        stored = events_of(nats_server)
        await asyncio.to_thread(shutil.rmtree, stored)
        await asyncio.to_thread(shutil.copytree, tmp_path / "older", stored)
        await asyncio.to_thread(nats_server.restart)

        refs = await shop.jobs.pack.create_many(Parcel(number=n) for n in range(3))

        assert [await ref.result(timeout=SOON) for ref in refs] == [Receipt(total=n) for n in range(3)]
