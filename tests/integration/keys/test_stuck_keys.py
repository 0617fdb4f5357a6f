"""Keys that get stuck in other runtimes (reference, 10.14, and the rows around it) do not get stuck here, wherever a process dies."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from trellis_nats import Coalesced, JobRetry, JobState, Rejected, Replaced, TransportError
from trellis_nats.clock import now, timestamp
from trellis_nats.jobs.keys import orphans
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.ferry import ACK_WAIT, Cargo, CargoJob, CargoQueue, Ferry, Stowed
from tests.support.left_behind import (
    ANNA,
    SOON,
    Watch,
    accepted,
    entry,
    is_free,
    known_record,
    leave,
    was_delivered,
)
from tests.support.records import bucket_of, holders, name_of, record_of

# --- reservations of dead processes ------------------------------------------------------------------------------------


async def test_reservations_of_dead_creators_delay_no_job_behind_them(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a recent reservation nor an old one: none is evicted here."""
    monkeypatch.setattr(orphans, "RESERVATION_TIMEOUT", timedelta(hours=1))
    async with Ferry.connect(nats_server.url) as ferry:
        queue, watch = ferry.jobs.load, Watch(ends=True)
        await leave(ferry, queue, queued=[entry(age=timedelta(0)), entry("01OLDER")])
        watch.works(queue)
        await ferry.jobs.start_workers()

        await (await queue.create(ANNA)).result(timeout=SOON)


async def test_reservations_of_dead_creators_reject_no_job(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        for queue, places in ((ferry.jobs.strict, 1), (ferry.jobs.once, 2), (ferry.jobs.latest, 2)):
            await leave(ferry, queue, queued=[entry(f"01GHOST{number}") for number in range(places)])

            assert await accepted(queue)


async def test_the_reservation_of_an_interrupted_creation_is_evicted(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is evicted ten seconds later; until then the key is full."""
    async with Ferry.connect(nats_server.url) as ferry:
        queue, is_reserved = ferry.jobs.strict, asyncio.Event()

        async def never(*_: object, **__: object) -> None:
            is_reserved.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as patch:
            patch.setattr(EventLog, "create", never)
            interrupted = asyncio.create_task(queue.submit(ANNA))
            await is_reserved.wait()
            interrupted.cancel()
            await asyncio.wait([interrupted])
        assert isinstance(await queue.submit(ANNA), Rejected)
        record = await record_of(ferry, queue, ANNA)
        aged = record.queued[0]._replace(created_at=timestamp(now() - timedelta(seconds=10.1)))
        await bucket_of(ferry).put(name_of(queue, ANNA), record._replace(queued=(aged,)).encode())

        assert await accepted(queue)


async def test_a_job_that_cannot_be_stored_releases_its_reservation(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Ferry.connect(nats_server.url) as ferry:

        async def refused(*_: object, **__: object) -> None:
            raise TransportError("no")

        with monkeypatch.context() as patch:
            patch.setattr(EventLog, "create", refused)
            with pytest.raises(TransportError):
                await ferry.jobs.strict.submit(ANNA)

        assert await is_free(ferry, ferry.jobs.strict)


async def test_a_replaced_job_whose_end_cannot_be_stored_gets_its_entry_back_and_runs(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        queue, watch = ferry.jobs.latest, Watch(ends=True)
        first, second = await queue.create(ANNA), await queue.create(ANNA)

        async def refused(*_: object, **__: object) -> None:
            raise TransportError("no")

        with monkeypatch.context() as patch:
            patch.setattr(EventLog, "append", refused)
            with pytest.raises(TransportError):
                await queue.submit(ANNA)

        assert await holders(ferry, queue, ANNA) == ([], [first.id, second.id])
        watch.works(queue)
        await ferry.jobs.start_workers()
        assert (await first.wait(timeout=SOON)).state is JobState.COMPLETED
        assert (await second.wait(timeout=SOON)).state is JobState.COMPLETED


async def test_a_job_that_was_displaced_by_a_creator_that_died_still_runs(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lost its entry, but no process stored that it was skipped."""
    async with Ferry.connect(nats_server.url) as ferry:
        queue, watch, is_displaced = ferry.jobs.latest, Watch(ends=True), asyncio.Event()
        first, second = await queue.create(ANNA), await queue.create(ANNA)

        async def never(*_: object, **__: object) -> None:
            is_displaced.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as patch:
            patch.setattr(EventLog, "append", never)
            dying = asyncio.create_task(queue.submit(ANNA))
            await is_displaced.wait()
            dying.cancel()
            await asyncio.wait([dying])
        watch.works(queue)
        await ferry.jobs.start_workers()

        for ref in (first, second):
            assert (await ref.wait(timeout=SOON)).state is JobState.COMPLETED


# --- waiting ---------------------------------------------------------------------------------------------------------


async def test_a_job_that_waits_for_long_consumes_no_delivery(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        queue, watch = ferry.jobs.load, Watch()
        watch.works(queue)
        await ferry.jobs.start_workers()
        first = await queue.create(ANNA)
        second = await queue.create(ANNA)
        began = (await known_record(ferry, queue)).updated_at
        await eventually(lambda: has_waited(ferry, queue, began, ACK_WAIT * 2))
        assert await was_delivered(ferry, "load", 2)
        watch.go_on.set()

        assert (await first.wait(timeout=SOON)).tries == 1
        assert (await second.wait(timeout=SOON)).tries == 1


async def has_waited(ferry: Ferry, queue: CargoQueue, since: str, so_long: timedelta) -> bool:
    return timestamp(now() - so_long) > since and bool((await known_record(ferry, queue)).queued)


async def test_a_retry_that_another_runtime_dropped_from_the_record_still_runs(
    nats_server: NatsServer,
) -> None:
    """The TypeScript runtime keeps no entry for a retry (reference, 10.9)."""
    async with Ferry.connect(nats_server.url) as ferry:
        queue = ferry.jobs.load

        @queue.handle
        async def work(job: CargoJob) -> Stowed:
            if job.tries == 1:
                raise JobRetry("not yet", after=timedelta(milliseconds=500))
            return Stowed(number=1)

        await ferry.jobs.start_workers()
        ref = await queue.create(ANNA)
        await eventually(lambda: waits_for_its_retry(ferry, queue))
        record = await record_of(ferry, queue, ANNA)
        await bucket_of(ferry).put(name_of(queue, ANNA), record._replace(queued=()).encode())

        assert (await ref.wait(timeout=SOON)).tries == 2
        await eventually(lambda: is_free(ferry, queue))


async def waits_for_its_retry(ferry: Ferry, queue: CargoQueue) -> bool:
    record = await record_of(ferry, queue, ANNA)
    return not record.active and bool(record.queued) and record.queued[0].retry_at is not None


# --- the record itself -----------------------------------------------------------------------------------------------


async def test_an_unreadable_record_blocks_only_its_own_key_until_it_is_repaired(
    nats_server: NatsServer,
) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        queue, watch = ferry.jobs.load, Watch(ends=True)
        ref = await queue.create(ANNA)
        good = await bucket_of(ferry).get(name_of(queue, ANNA))
        assert good is not None
        await bucket_of(ferry).put(name_of(queue, ANNA), b'{"version":1,"active":"invalid"}')
        watch.works(queue)
        await ferry.jobs.start_workers()
        other = await queue.create(Cargo(ship="berta"))
        await other.result(timeout=SOON)
        assert [job for job, _ in watch.began] == [other.id]

        await bucket_of(ferry).put(name_of(queue, ANNA), good.value)

        assert (await ref.wait(timeout=SOON)).state is JobState.COMPLETED


async def test_rejected_submissions_leave_no_trace_in_the_record(nats_server: NatsServer) -> None:
    """Other runtimes keep a note of each rejected submission, without a limit."""
    async with Ferry.connect(nats_server.url) as ferry:
        for queue in (ferry.jobs.strict, ferry.jobs.once, ferry.jobs.latest):
            await queue.create(ANNA)
            await queue.submit(ANNA)
            first = await bucket_of(ferry).get(name_of(queue, ANNA))
            assert first is not None
            for _ in range(50):
                assert isinstance(await queue.submit(ANNA), Rejected | Replaced) or queue is ferry.jobs.once

            last = await bucket_of(ferry).get(name_of(queue, ANNA))
            assert last is not None
            assert len(last.value) == len(first.value)


async def test_no_ended_job_stands_in_for_a_new_one(
    nats_server: NatsServer,
) -> None:
    """More jobs wait than the limit allows, as after it was lowered: behind a job that has ended is the next one."""
    async with Ferry.connect(nats_server.url) as ferry:
        queue = ferry.jobs.once
        ended = [await queue.create(ANNA) for _ in range(2)]
        for ref in ended:
            await ref.cancel("no more")
        waiting = [await queue.create(ANNA) for _ in range(2)]
        await leave(ferry, queue, queued=[entry(ref.id, age=timedelta(0)) for ref in ended])

        outcome = await queue.submit(ANNA)

    assert isinstance(outcome, Coalesced)
    assert outcome.existing.id == waiting[0].id


async def test_a_cancelled_job_whose_handler_still_runs_stands_in_for_no_job(
    nats_server: NatsServer,
) -> None:
    """It keeps its slot until its handler has returned; until then the key is full."""
    async with Ferry.connect(nats_server.url) as ferry:
        queue, watch = ferry.jobs.solo, Watch()
        watch.works(queue)
        await ferry.jobs.start_workers()
        ref = await queue.create(ANNA)
        await eventually(lambda: ref.id in watch.running)
        assert isinstance(await queue.submit(ANNA), Coalesced)
        await ref.cancel("no more")

        outcome = await queue.submit(ANNA)

        assert isinstance(outcome, Rejected)
        assert outcome.reason == "active-limit"
        watch.go_on.set()

        async def has_room() -> bool:
            return await accepted(queue)

        await eventually(has_room)
