"""The leader of an object store is killed, again and again: objects are whole or not there, and reads continue."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import Options, TransportError
from trellis_nats._nats.jetstream.api import call

from tests.support.cluster import Cluster, running_cluster
from tests.support.eventually import eventually
from tests.support.files import BUCKET, FilesService

PIECE: Final = bytes(range(256)) * 2048
PIECES: Final = 40
CONTENT_DIGEST: Final = hashlib.sha256(PIECE * PIECES).hexdigest()
PATIENT: Final = Options(request_timeout=timedelta(seconds=20))
ROUNDS: Final = 3
ELECTION: Final = timedelta(seconds=60)


async def find_leader(service: FilesService) -> str | None:
    """Return the leader of the store; None during an election."""
    try:
        info = await call(
            service.runtime.connection, f"STREAM.INFO.OBJ_{BUCKET}", timeout=timedelta(seconds=1)
        )
    except TransportError:
        return None
    match info:
        case {"cluster": {"leader": str(leader)}}:
            return leader
        case _:
            return None


async def content(at: asyncio.Event) -> AsyncIterator[bytes]:
    """Yield pieces slowly enough that a leader dies in the middle."""
    for number in range(PIECES):
        yield PIECE
        if number == PIECES // 2:
            at.set()
        await asyncio.sleep(0.01)


async def kill_leader(cluster: Cluster, service: FilesService) -> None:
    leader = await eventually(lambda: find_leader(service), within=ELECTION)
    assert leader is not None
    await asyncio.to_thread(cluster.servers[leader].kill)
    await asyncio.to_thread(cluster.servers[leader].start)


@pytest.mark.timeout(300)
async def test_objects_survive_the_loss_of_leaders() -> None:
    stored = failed = 0
    async with running_cluster() as cluster, FilesService.connect(cluster.url, options=PATIENT) as service:
        for number in range(ROUNDS):
            key, halfway = f"o{number}", asyncio.Event()
            writing = asyncio.create_task(service.files.put(key, content(halfway)))
            await halfway.wait()
            await kill_leader(cluster, service)
            try:
                await writing
                stored += 1
            except TransportError:
                failed += 1
            await eventually(lambda: find_leader(service), within=ELECTION)

            found = await service.files.get(key)
            if found is None:
                continue
            read = hashlib.sha256()
            chunks = 0
            async for chunk in found:
                read.update(chunk)
                chunks += 1
                if chunks == 20:
                    await kill_leader(cluster, service)
            assert read.hexdigest() == CONTENT_DIGEST
            await eventually(lambda: find_leader(service), within=ELECTION)
    sys.stdout.write(f"store in a cluster: {stored} of {ROUNDS} objects stored, {failed} writes failed\n")
    assert stored
