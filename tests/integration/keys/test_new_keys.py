"""Records are written without a read where a process knows or may assume them, and a wrong assumption does no harm."""

import asyncio
from datetime import timedelta

import pytest
from trellis_nats import Rejected
from trellis_nats._nats.jetstream.kv import KvBucket, KvRecord
from trellis_nats._nats.jetstream.publish import PubAck
from trellis_nats.errors import WrongLastSequence
from trellis_nats.testing import NatsServer

from tests.support.cargo_watch import Watch
from tests.support.eventually import eventually
from tests.support.ferry import LEASE, Cargo, Ferry
from tests.support.records import holders, name_of

ANNA = Cargo(ship="anna")
SOON = timedelta(seconds=20)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the records that are read from now on."""
    read: list[str] = []
    get = KvBucket.get

    async def counted(
        self: KvBucket, key: str, *, leader: bool = False, timeout: timedelta = LEASE
    ) -> KvRecord | None:
        read.append(key)
        return await get(self, key, leader=leader, timeout=timeout)

    monkeypatch.setattr(KvBucket, "get", counted)
    return read


def count_refusals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the records of which a write is refused from now on."""
    refused: list[str] = []
    update = KvBucket.update

    async def counted(
        self: KvBucket, key: str, value: bytes, revision: int, *, timeout: timedelta = LEASE
    ) -> PubAck:
        try:
            return await update(self, key, value, revision, timeout=timeout)
        except WrongLastSequence:
            refused.append(key)
            raise

    monkeypatch.setattr(KvBucket, "update", counted)
    return refused


async def test_the_first_record_of_a_key_is_written_without_a_read(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        read = count_reads(monkeypatch)
        for number in range(5):
            await ferry.jobs.strict.create(Cargo(ship=f"new {number}"))

        assert read == [name_of(ferry.jobs.strict, Cargo(ship="new 0"))]


async def test_a_key_that_is_wrongly_assumed_to_be_new_keeps_its_record(nats_server: NatsServer) -> None:
    berta = Cargo(ship="berta")
    async with Ferry.connect(nats_server.url) as other, Ferry.connect(nats_server.url) as ferry:
        waits = await other.jobs.once.create(berta)
        full = await other.jobs.strict.create(berta)
        await ferry.jobs.once.create(ANNA)
        await ferry.jobs.strict.create(ANNA)

        second = await ferry.jobs.once.create(berta)
        refused = await ferry.jobs.strict.submit(berta)

        assert await holders(ferry, ferry.jobs.once, berta) == ([], [waits.id, second.id])
        assert refused == Rejected(key="berta", reason="queue-depth", active=0, queued=1, limit=1)
        assert await holders(ferry, ferry.jobs.strict, berta) == ([], [full.id])


async def test_a_worker_in_another_process_needs_no_read_for_a_job_that_is_alone(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Ferry.connect(nats_server.url) as ferry, Ferry.connect(nats_server.url) as second:
        watch = Watch()
        watch.go_on.set()
        watch.works(second.jobs.load)
        first = [await ferry.jobs.load.create(Cargo(ship=ship)) for ship in ("anna", "berta", "cora")]
        read, refused = count_reads(monkeypatch), count_refusals(monkeypatch)
        await second.jobs.start_workers()
        await asyncio.gather(*(ref.result(timeout=SOON) for ref in first))
        await second.stop()

        assert [name for name in read if name.startswith("ferry.load.")] == []
        assert refused == []
        assert await holders(ferry, ferry.jobs.load, ANNA) == ([], [])


async def test_a_worker_keeps_the_jobs_that_came_after_the_record_that_the_creator_left(
    nats_server: NatsServer,
) -> None:
    async with Ferry.connect(nats_server.url) as ferry, Ferry.connect(nats_server.url) as second:
        watch = Watch()
        watch.works(second.jobs.load)
        refs = [await ferry.jobs.load.create(Cargo(ship="anna", number=number)) for number in range(2)]
        await second.jobs.start_workers()
        await eventually(lambda: sum(watch.most.values()) == 1)

        assert await holders(ferry, ferry.jobs.load, ANNA) == ([refs[0].id], [refs[1].id])
        watch.go_on.set()
        assert [(await ref.result(timeout=SOON)).number for ref in refs] == [0, 1]


async def test_a_creator_whose_records_change_elsewhere_reads_them_before_it_writes(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ships = ("anna", "berta", "cora")
    async with Ferry.connect(nats_server.url) as ferry, Ferry.connect(nats_server.url) as second:
        watch = Watch()
        watch.go_on.set()
        watch.works(second.jobs.load)
        await second.jobs.start_workers()
        refused = count_refusals(monkeypatch)

        async def round_trip() -> None:
            for ship in ships:
                ref = await ferry.jobs.load.create(Cargo(ship=ship))
                await ref.result(timeout=SOON)
                name = Cargo(ship=ship)
                while await holders(ferry, ferry.jobs.load, name) != ([], []):  # noqa: ASYNC110 - another process writes it
                    await asyncio.sleep(0)

        await round_trip()
        assert refused == []
        await round_trip()
        assert refused == [name_of(ferry.jobs.load, ANNA)]
        await round_trip()
        assert refused == [name_of(ferry.jobs.load, ANNA)]
