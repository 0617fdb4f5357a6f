"""Many jobs at once where the stream has no atomic batches, or too many of them are open."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import pytest
from pydantic import JsonValue
from trellis_nats import ApiError, JobNotEnqueued, Options, PayloadTooLarge
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.batch import BATCH_MAX
from trellis_nats._nats.jetstream.streams import create_stream, get_stream_info, update_stream
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._support.log_events import LogEvent
from trellis_nats.clock import now
from trellis_nats.context import new_context
from trellis_nats.jobs.model.creation import Creation, draft
from trellis_nats.jobs.model.event import NewEvent
from trellis_nats.jobs.model.job_streams import job_requirements
from trellis_nats.provision import StreamRequirement
from trellis_nats.testing import LogSignals, NatsServer

from tests.support.depot import Depot, login, standing
from tests.support.eventually import eventually
from tests.support.inspection import inspect_queue
from tests.support.needs import JOBS
from tests.support.proxy import Proxy
from tests.support.refusals import Refusal, RefusingProxy
from tests.support.shop import Parcel, Shop
from tests.support.versions import VERSIONS, binary_of

BATCHING = [version for version in (None, *VERSIONS) if version is None or version >= "2.12"]
HASTY = Options(request_timeout=timedelta(seconds=1))
NO_BATCHES: dict[str, JsonValue] = {
    "name": "JOBS",
    **next(
        need.config
        for need in job_requirements(JOBS)
        if isinstance(need, StreamRequirement) and need.name == "JOBS"
    ),
    "metadata": {"owner": "ops"},
}
"""As a server before 2.12 made it."""


def binary(version: str | None) -> NatsServer:
    return NatsServer(binary=None if version is None else binary_of(version))


async def config_of_jobs(connection: Connection) -> Mapping[str, JsonValue]:
    info = await get_stream_info(connection, "JOBS")
    assert info is not None
    config = cast("dict[str, JsonValue]", info["config"])
    metadata = cast("dict[str, JsonValue]", config.get("metadata") or {})
    own = {name: value for name, value in metadata.items() if not name.startswith("_nats.")}
    return {**config, "metadata": own}


async def opened(server: NatsServer) -> Connection:
    return await Connection.open(server.url, settings=ConnectionSettings())


@pytest.mark.parametrize("version", BATCHING)
async def test_batches_are_switched_on_in_a_stream_without_them(version: str | None) -> None:
    async with binary(version) as server:
        root = await opened(server)
        await create_stream(root, NO_BATCHES)
        before = await config_of_jobs(root)

        with LogSignals() as signals:
            async with Shop.connect(server.url) as shop:
                refs = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(5)])
                assert len({ref.id for ref in refs}) == 5

        after = await config_of_jobs(root)
        assert after == {**before, "allow_atomic": True}
        assert len(signals.of(LogEvent.STREAM_UPDATED)) == 1
        assert signals.of(LogEvent.BATCHES_OFF) == []
        await root.close()


async def test_where_the_stream_may_not_be_updated_jobs_are_stored_one_by_one() -> None:
    """In a keyed queue too; what that costs is said when the service connects."""
    async with standing() as server:
        root = await Connection.open(
            server.url,
            settings=ConnectionSettings(user="root", password="root"),  # noqa: S106 - not a secret
        )
        await update_stream(root, {**await config_of_jobs(root), "allow_atomic": False})
        with LogSignals() as signals:
            for user, can_look in (("operator", True), ("producer", False)):
                async with Depot.connect(server.url, options=login(user)) as depot:
                    remarks = signals.of(LogEvent.STREAM_DEVIATES, stream="JOBS")
                    assert [record.levelno for record in remarks] == [logging.WARNING]
                    assert "allow_atomic" in remarks[0].getMessage()
                    if can_look:
                        continue
                    many = [Parcel(number=number) for number in range(20)]
                    refs = [
                        *await depot.jobs.pack.create_many(many),
                        *await depot.jobs.pack.create_many(many),
                        *await depot.jobs.ship.create_many(many),
                    ]
                    assert len({ref.id for ref in refs}) == 60
                    assert {(await ref.get()).tries for ref in refs} == {0}
        said = signals.of(LogEvent.BATCHES_OFF)
        assert len(said) == 2  # once for each queue
        assert "one by one" in said[0].getMessage()
        await root.close()


async def test_batches_that_are_switched_off_while_a_service_runs_are_done_without(
    nats_server: NatsServer,
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        await shop.jobs.pack.create_many([Parcel(number=1)])
        connection = shop.jobs.runtime.connection
        await update_stream(connection, {**await config_of_jobs(connection), "allow_atomic": False})

        assert len(await shop.jobs.pack.create_many([Parcel(number=n) for n in range(3)])) == 3


@pytest.mark.parametrize("version", BATCHING)
async def test_many_batches_at_once_are_all_stored(version: str | None) -> None:
    """A stream accepts 50 open ones, and here other processes have opened as many."""
    async with binary(version) as server, Shop.connect(server.url) as shop:
        other = await opened(server)
        held = 50
        for number in range(held):
            await other.publish(subject_of(number), b"{}", headers=batch_headers(number, 1))
        await other.flush()
        waiting = [
            asyncio.create_task(shop.jobs.pack.create_many([Parcel(number=n) for n in range(3)]))
            for _ in range(30)
        ]
        done, _ = await asyncio.wait(waiting, timeout=0.5)
        assert not done

        for number in range(held):
            headers = {**batch_headers(number, 2), "Nats-Batch-Commit": "1"}
            await other.publish(subject_of(number), b"{}", headers=headers)

        stored = await asyncio.wait_for(asyncio.gather(*waiting), 30)
        assert len({ref.id for refs in stored for ref in refs}) == 90
        await other.close()


@pytest.mark.parametrize("version", BATCHING)
async def test_a_batch_that_is_too_large_leaves_no_open_batch(version: str | None) -> None:
    """A stream keeps a batch that was begun open for 10 s, and accepts 50 of them."""
    async with binary(version) as server, Shop.connect(server.url) as shop:
        large = Parcel(number=2, note="x" * shop.jobs.runtime.connection.max_payload)
        for _ in range(51):
            with pytest.raises(PayloadTooLarge):
                await shop.jobs.pack.create_many([Parcel(number=1), large])

        await asyncio.wait_for(shop.jobs.pack.create_many([Parcel(number=1)] * 2), 5)


async def test_a_batch_is_sent_again_when_the_connection_is_lost_meanwhile(nats_server: NatsServer) -> None:
    async with Proxy(nats_server.port) as proxy, Shop.connect(proxy.url) as shop:
        connection = shop.jobs.runtime.connection
        proxy.blackhole("to_server")
        many = [Parcel(number=number, note="x" * 16_000) for number in range(1_000)]
        creating = asyncio.create_task(shop.jobs.pack.create_many(many))
        await eventually(lambda: not connection.is_ready)
        proxy.cut()
        proxy.heal()

        assert len({ref.id for ref in await creating}) == 1_000
        info = await get_stream_info(connection, "JOBS")
        assert info is not None
        assert cast("dict[str, JsonValue]", info["state"])["messages"] == 1_000


async def test_an_error_after_a_batch_says_how_many_jobs_are_stored(nats_server: NatsServer) -> None:
    parcels = [Parcel(number=number) for number in range(BATCH_MAX)]
    async with RefusingProxy(nats_server.port) as proxy, Shop.connect(proxy.url, options=HASTY) as shop:
        large = Parcel(number=2, note="x" * shop.jobs.runtime.connection.max_payload)
        with pytest.raises(PayloadTooLarge) as too_large:
            await shop.jobs.pack.create_many([*parcels, large])
        with pytest.raises(JobNotEnqueued) as full:
            await shop.jobs.ship.create_many([*parcels, parcels[0]])
        with pytest.raises(PayloadTooLarge) as nothing_stored:
            await shop.jobs.pack.create_many([large])
        # The first batch is found stored when it is repeated, for its answer is lost; the second one is refused.
        proxy.lose_then_refuse("trellis.jobs.shop.", Refusal.FULL, skip=1)
        with pytest.raises(ApiError) as refused:
            await shop.jobs.pack.create_many([*parcels, *parcels[:500]])

    note = "the first 1,000 of 1,001 jobs are stored"
    assert note in notes_of(too_large)
    assert note in notes_of(full)
    assert "the first 1,000 of 1,500 jobs are stored" in notes_of(refused)
    assert not any("stored" in text for text in notes_of(nothing_stored))


async def test_a_cancelled_call_says_how_many_jobs_are_stored(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        connection = shop.jobs.runtime.connection
        many = [Parcel(number=number) for number in range(10 * BATCH_MAX)]
        creating = asyncio.create_task(shop.jobs.pack.create_many(many))

        async def count_stored() -> int:
            info = await get_stream_info(connection, "JOBS")
            return 0 if info is None else cast("int", cast("dict[str, JsonValue]", info["state"])["messages"])

        async def is_second_batch_stored() -> bool:
            return await count_stored() >= 2 * BATCH_MAX

        await eventually(is_second_batch_stored)
        creating.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await creating

        (note,) = notes_of(cancelled)
        found = re.fullmatch(r"([\d,]+) of 10,000 jobs are stored, and the next 1,000 may be", note)
        assert found is not None, note
        noted = int(found[1].replace(",", ""))
        assert BATCH_MAX <= noted <= await count_stored() <= noted + BATCH_MAX


def notes_of(caught: pytest.ExceptionInfo[BaseException]) -> list[str]:
    return getattr(caught.value, "__notes__", [])


def subject_of(number: int) -> str:
    return f"trellis.jobs.other.queue.J{number}.probe"


def batch_headers(number: int, sequence: int) -> dict[str, str]:
    return {"Nats-Batch-Id": f"held-{number}", "Nats-Batch-Sequence": str(sequence)}


@dataclass(frozen=True)
class _Identified:
    """A new event whose message has an id."""

    event: NewEvent

    @property
    def job_id(self) -> str:
        return self.event.job_id

    @property
    def event_type(self) -> str:
        return self.event.event_type

    def encode(self) -> bytes:
        return self.event.encode()

    def header_lines(self) -> bytes:
        return self.event.headers + f"Nats-Msg-Id: {self.job_id}\r\n".encode()


@pytest.mark.parametrize("version", BATCHING)
async def test_a_batch_that_is_stored_already_counts_as_stored(version: str | None) -> None:
    async with binary(version) as server, Shop.connect(server.url) as shop:
        context = inspect_queue(shop.jobs.pack)
        payloads = [context.payload.encode(Parcel(number=number)) for number in range(3)]
        events = [
            _Identified(
                draft(
                    payload,
                    Creation(),
                    service="shop",
                    queue="pack",
                    max_tries=3,
                    default_deadline=None,
                    context=new_context(),
                    at=now(),
                )
            )
            for payload in payloads
        ]

        counted: list[int] = []
        await context.batches.create([events], counted.append)
        before = await get_stream_info(shop.jobs.runtime.connection, "JOBS")
        await context.batches.create([events], counted.append)

        after = await get_stream_info(shop.jobs.runtime.connection, "JOBS")
        assert counted == [3, 3]
        assert before is not None
        assert after is not None
        assert before["state"] == after["state"]
