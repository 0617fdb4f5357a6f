"""Messages that cannot be worked now are postponed, without being lost or blocking others."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import Options
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_last_message
from trellis_nats.ids import new_id
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.faults.harness.wiretap import Step, Wiretap
from tests.support.eventually import eventually
from tests.support.ferry import Cargo, CargoJob, Ferry, Stowed
from tests.support.records import bucket_of, name_of
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON: Final = timedelta(seconds=15)
HASTY: Final = Options(request_timeout=timedelta(milliseconds=300))


async def test_what_is_put_back_rests_no_longer_than_it_should(nats_server: NatsServer) -> None:
    """A progress ack behind the delayed nak would restart the whole ack wait."""
    signals = LogSignals()
    async with Wiretap(nats_server.port) as tap, Shop.connect(tap.url, options=HASTY) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        ref = await shop.jobs.pack.create(Parcel(number=1))
        connection = shop.jobs.runtime.connection
        created = await get_last_message(connection, "JOBS", f"trellis.jobs.shop.pack.{ref.id}.created")
        assert created is not None
        await shop.jobs.start_workers()
        await ref.result(timeout=SOON)
        tap.seen.clear()
        tap.drop(Step.OUTCOME_ASKED_FOR)  # the read before anything is decided
        await publish_acked(connection, "trellis.work.shop.pack", created.data)
        with signals:
            await eventually(lambda: not tap.waits)
            await eventually(lambda: delivered(tap, ref.id) == 2, within=SOON)

    put_back = next(each.at for each in tap.seen if each.step is Step.NAK_SENT)
    again = [each.at for each in tap.seen if each.step is Step.DELIVERED][1]
    beats = [each.at for each in tap.seen if each.step is Step.PROGRESS_SENT]
    assert not [at for at in beats if put_back < at < again]
    assert signals.of(LogEvent.JOB_RETURNED, job_id=ref.id)


def delivered(tap: Wiretap, job: str) -> int:
    return sum(each.step is Step.DELIVERED and each.job == job for each in tap.seen)


async def unreadable(connection: Connection, job: str) -> int:
    """Store what this version cannot read in a job's history."""
    body = b'{"jobId":"%b","eventType":"hibernated","state":"hibernating"}' % job.encode()
    ack = await publish_acked(
        connection, f"trellis.jobs.shop.pack.{job}.hibernated", body, message_id=new_id()
    )
    return ack.sequence


async def test_a_job_whose_history_cannot_be_read_is_postponed_and_not_lost(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        done: list[int] = []

        @shop.jobs.pack.handle(concurrency=1)
        async def pack(job: ParcelJob) -> Receipt:
            done.append(job.payload.number)
            return Receipt(total=1)

        connection = shop.jobs.runtime.connection
        postponed = [await shop.jobs.pack.create(Parcel(number=n)) for n in range(3)]
        sequences = [await unreadable(connection, ref.id) for ref in postponed]
        await shop.jobs.start_workers()
        others = [await shop.jobs.pack.create(Parcel(number=n)) for n in range(3, 30)]
        await asyncio.gather(*(ref.result(timeout=SOON) for ref in others))
        for ref, sequence in zip(postponed, sequences, strict=True):
            assert f'message {sequence} of stream "JOBS", on "trellis.jobs.shop.pack.{ref.id}' in caplog.text
        for ref in postponed:
            await call(
                connection, "STREAM.PURGE.JOBS", {"filter": f"trellis.jobs.shop.pack.{ref.id}.hibernated"}
            )
        await asyncio.gather(*(ref.result(timeout=SOON) for ref in postponed))

    assert sorted(done) == list(range(30))


async def test_jobs_whose_key_cannot_be_read_are_postponed_and_keep_no_permit_from_others(
    nats_server: NatsServer,
) -> None:
    with LogSignals() as signals:
        async with Ferry.connect(nats_server.url) as ferry:
            done: list[str] = []
            queue = ferry.jobs.load

            @queue.handle(concurrency=1)
            async def load(job: CargoJob) -> Stowed:
                done.append(job.payload.ship)
                return Stowed(number=1)

            bad = [Cargo(ship=f"bad {number}") for number in range(3)]
            postponed = [await queue.create(cargo) for cargo in bad]
            for cargo in bad:
                await bucket_of(ferry).put(name_of(queue, cargo), b"no record")
            others = [await queue.create(Cargo(ship=f"good {number}")) for number in range(20)]
            await ferry.jobs.start_workers()
            await asyncio.gather(*(ref.result(timeout=SOON) for ref in others))
            assert done == [f"good {number}" for number in range(20)]
            logged = {getattr(record, "job_id", None) for record in signals.of(LogEvent.JOB_POSTPONED)}
            assert logged == {ref.id for ref in postponed}
            assert not signals.of(LogEvent.JOB_RETURNED)
            for cargo in bad:
                await bucket_of(ferry).delete(name_of(queue, cargo))
            await asyncio.gather(*(ref.result(timeout=SOON) for ref in postponed))

        assert sorted(done)[:3] == ["bad 0", "bad 1", "bad 2"]
