"""The outcome of a submission while other processes change the key, or die in the middle of a change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest
from trellis_nats import Accepted, Coalesced, JobRef, Rejected
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.clock import now, timestamp
from trellis_nats.ids import new_id
from trellis_nats.jobs.keys import orphans
from trellis_nats.jobs.keys.orphans import OrphanFinder, Orphans
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.ferry import Cargo, CargoJob, CargoQueue, Ferry, Stowed
from tests.support.inspection import inspect_queue
from tests.support.keyed_records import entry
from tests.support.records import bucket_of, holders, name_of, record_of

ANNA = Cargo(ship="anna")
SOON = timedelta(seconds=15)


def inspector_of(queue: CargoQueue) -> OrphanFinder:
    keys = inspect_queue(queue).keys
    assert keys is not None
    return keys.reservations.orphan_finder


@pytest.fixture
def narrow_server() -> Iterator[NatsServer]:
    with NatsServer(config="max_payload: 24576") as server:
        yield server


async def test_a_key_with_a_full_record_can_still_start_its_jobs(narrow_server: NatsServer) -> None:
    """A record is one message, and a slot is longer than the entry that it replaces."""
    async with Ferry.connect(narrow_server.url) as ferry:
        queue = ferry.jobs.load
        refs: list[JobRef[Cargo, Stowed]] = []
        while isinstance(outcome := await queue.submit(ANNA), Accepted):
            refs.append(outcome.ref)
        assert isinstance(outcome, Rejected)
        assert (outcome.reason, outcome.limit, outcome.queued) == ("queue-depth", len(refs), len(refs))

        @queue.handle
        async def load(job: CargoJob) -> Stowed:
            return Stowed(number=1)

        await ferry.jobs.start_workers()
        await asyncio.gather(*(ref.result(timeout=6 * SOON) for ref in refs))


async def test_a_submission_that_cannot_join_one_active_job_joins_another(nats_server: NatsServer) -> None:
    """The first job is cancelled and its handler still runs: it stands in for no new job, and keeps its slot."""
    async with Ferry.connect(nats_server.url) as ferry:
        queue, go_on = ferry.jobs.duo, asyncio.Event()
        running: list[str] = []

        @queue.handle
        async def load(job: CargoJob) -> Stowed:
            running.append(job.id)
            await go_on.wait()
            return Stowed(number=1)

        await ferry.jobs.start_workers()
        first, second = await queue.create(ANNA), await queue.create(ANNA)
        await eventually(lambda: len(running) == 2)
        cancelled, other = (first, second) if running[0] == first.id else (second, first)
        await cancelled.cancel()

        outcome = await queue.submit(ANNA)

        assert isinstance(outcome, Coalesced)
        assert outcome.existing.id == other.id
        go_on.set()


async def test_two_submissions_with_one_idempotency_key_create_one_job(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is full when the first submission checks it, and contains the same job when it checks again."""
    async with Ferry.connect(nats_server.url) as ferry, Ferry.connect(nats_server.url) as second:
        before = await ferry.jobs.strict.create(ANNA)
        orphan_finder = inspector_of(ferry.jobs.strict)
        find = orphan_finder.find
        made: list[str] = []

        async def meanwhile(*found: object, **options: object) -> Orphans:
            await second.jobs.strict.ref(before.id).cancel()
            made.append((await second.jobs.strict.create(ANNA, idempotency_key="once")).id)
            return await find(*found, **options)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - passed on unchanged

        monkeypatch.setattr(orphan_finder, "find", meanwhile)
        ref = await ferry.jobs.strict.create(ANNA, idempotency_key="once")

        assert made == [ref.id]
        assert await holders(ferry, ferry.jobs.strict, ANNA) == ([], [ref.id])


async def reserved(ferry: Ferry, queue: CargoQueue, *, ahead: timedelta) -> str:
    """Put a reservation into the record, by a process that stored nothing and whose clock is ahead."""
    job = new_id()
    record = await record_of(ferry, queue, ANNA)
    left = record._replace(queued=(entry(job)._replace(created_at=timestamp(now() + ahead)),))
    await bucket_of(ferry).put(name_of(queue, ANNA), left.encode())
    return job


async def test_a_reservation_by_a_clock_that_is_ahead_is_evicted_too(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "RESERVATION_TIMEOUT", timedelta(milliseconds=500))
    async with Ferry.connect(nats_server.url) as ferry:
        queue = ferry.jobs.solo
        await (await queue.create(ANNA)).cancel()
        await reserved(ferry, queue, ahead=timedelta(hours=1))

        outcome = await asyncio.wait_for(queue.submit(ANNA), SOON.total_seconds())

        assert isinstance(outcome, Accepted)


async def test_a_submission_that_waits_for_a_reservation_continues_when_it_is_withdrawn(
    nats_server: NatsServer,
) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        queue = ferry.jobs.solo
        await (await queue.create(ANNA)).cancel()
        empty = await record_of(ferry, queue, ANNA)
        await reserved(ferry, queue, ahead=timedelta(hours=1))
        submission = asyncio.create_task(queue.submit(ANNA))
        done, _ = await asyncio.wait((submission,), timeout=0.3)  # it waits for the reserved job to be stored
        assert not done
        await bucket_of(ferry).put(name_of(queue, ANNA), empty.encode())

        assert isinstance(await asyncio.wait_for(submission, 2), Accepted)


async def test_an_unreadable_job_does_not_break_submissions_to_its_key(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        queue = ferry.jobs.solo
        ref = await queue.create(ANNA)
        connection = ferry.jobs.runtime.connection
        await publish_acked(connection, f"trellis.jobs.ferry.solo.{ref.id}.hibernated", b"{}")

        outcome = await queue.submit(ANNA)

        assert isinstance(outcome, Rejected)
        assert await ref.release_key()
        assert isinstance(await queue.submit(ANNA), Accepted)
