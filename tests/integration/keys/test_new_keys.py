"""The first record of a key is written without a read, and a wrong guess about that does no harm."""

from datetime import timedelta

import pytest
from trellis_nats import Rejected
from trellis_nats._nats.jetstream.kv import KvBucket, KvRecord
from trellis_nats.testing import NatsServer

from tests.support.ferry import LEASE, Cargo, Ferry
from tests.support.records import holders, name_of

ANNA = Cargo(ship="anna")


async def test_the_first_record_of_a_key_is_written_without_a_read(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    get = KvBucket.get

    async def counted(
        self: KvBucket, key: str, *, leader: bool = False, timeout: timedelta = LEASE
    ) -> KvRecord | None:
        read.append(key)
        return await get(self, key, leader=leader, timeout=timeout)

    async with Ferry.connect(nats_server.url) as ferry:
        monkeypatch.setattr(KvBucket, "get", counted)
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
