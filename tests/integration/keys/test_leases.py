"""Leases: renewed whatever the handler does, taken over when their owner is dead, and lost without harm."""

import asyncio
import signal
from datetime import datetime, timedelta

import pytest
from trellis_nats import ConfigurationError, JobRetry, JobStale, JobState, Rejected
from trellis_nats.jobs.keys import acquire
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.ferry import LEASE, Cargo, CargoJob, CargoQueue, Ferry, Stowed
from tests.support.ferry_process import ferry_process
from tests.support.inspection import inspect_queue
from tests.support.proxy import Proxy
from tests.support.records import bucket_of, holders, name_of, record_of
from tests.support.shop import Parcel, Shop

ANNA = Cargo(ship="anna")
SOON = timedelta(seconds=20)
LONG = 3.0
"""In seconds: three leases, and three ack waits."""


def at_once(queue: CargoQueue, began: list[str]) -> None:
    """Register a handler that returns at once."""

    @queue.handle
    async def work(job: CargoJob) -> Stowed:
        began.append(job.id)
        return Stowed(number=job.payload.number)


@pytest.mark.parametrize("takes", [LONG, -LONG])
async def test_a_slot_is_held_for_as_long_as_its_handler_runs(nats_server: NatsServer, takes: float) -> None:
    """Even while the handler blocks the event loop."""
    async with Ferry.connect(nats_server.url) as ferry, ferry_process(nats_server.url) as worker:
        long = await ferry.jobs.load.create(Cargo(ship="anna", takes=takes))
        assert (await worker.wait_for("began")) == [long.id, "1"]
        began: list[str] = []
        at_once(ferry.jobs.load, began)
        await ferry.jobs.start_workers()
        short = await ferry.jobs.load.create(ANNA)

        assert (await long.wait(timeout=SOON)).state is JobState.COMPLETED
        await short.result(timeout=SOON)
        assert (await long.get()).tries == 1


async def test_a_waiting_job_takes_over_from_a_dead_worker_whose_job_ends_as_stale(
    nats_server: NatsServer,
) -> None:
    async with Ferry.connect(nats_server.url) as ferry, ferry_process(nats_server.url) as worker:
        queue, began = ferry.jobs.late, list[str]()
        first = await queue.create(Cargo(ship="anna", takes=60))
        await worker.wait_for("began")
        at_once(queue, began)
        await ferry.jobs.start_workers()
        second = await queue.create(ANNA)
        await eventually(lambda: is_waiting(ferry, queue, second.id))

        worker.process.kill()
        await second.result(timeout=SOON)

        assert (await first.wait(timeout=SOON)).state is JobState.STALE
        with pytest.raises(JobStale, match="lease of its concurrency key ran out"):
            await first.result()
        assert (await record_of(ferry, queue, ANNA)).takeovers == 1
        assert began == [second.id]


async def test_a_retry_that_is_due_takes_over_from_a_dead_worker_too(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        queue, began, may_fail = ferry.jobs.late, list[str](), asyncio.Event()

        @queue.handle
        async def work(job: CargoJob) -> Stowed:
            began.append(job.id)
            if job.tries == 1:
                await may_fail.wait()
                raise JobRetry("later", after=timedelta(seconds=3))
            return Stowed(number=job.payload.number)

        workers = await ferry.jobs.start_workers()
        retried = await queue.create(ANNA)
        await eventually(lambda: began == [retried.id])
        async with ferry_process(nats_server.url) as worker:
            may_fail.set()
            await workers.stop()
            first = await queue.create(Cargo(ship="anna", takes=60))
            assert (await worker.wait_for("began"))[0] == first.id
            await ferry.jobs.start_workers()
            worker.process.kill()

            await retried.result(timeout=SOON)

            assert (await first.wait(timeout=SOON)).state is JobState.STALE
            assert (await retried.get()).tries == 2
            assert began == [retried.id, retried.id]


async def is_waiting(ferry: Ferry, queue: CargoQueue, job_id: str) -> bool:
    return job_id in (await holders(ferry, queue, ANNA))[1]


async def test_a_dead_workers_job_runs_again_when_no_other_job_waits(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry, ferry_process(nats_server.url) as worker:
        ref = await ferry.jobs.load.create(Cargo(ship="anna", takes=60))
        await worker.wait_for("began")
        worker.process.kill()
        began: list[str] = []
        at_once(ferry.jobs.load, began)
        await ferry.jobs.start_workers()

        ended = await ref.wait(timeout=SOON)

        assert (ended.state, ended.tries) == (JobState.COMPLETED, 2)
        await eventually(lambda: is_free(ferry, ferry.jobs.load))


async def is_free(ferry: Ferry, queue: CargoQueue) -> bool:
    return await holders(ferry, queue, ANNA) == ([], [])


async def test_under_block_a_dead_workers_slot_is_for_its_own_job_only(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry, ferry_process(nats_server.url) as worker:
        first = await ferry.jobs.guarded.create(Cargo(ship="anna", takes=60))
        await worker.wait_for("began")
        second = await ferry.jobs.guarded.create(ANNA)
        worker.process.kill()
        began: list[str] = []
        at_once(ferry.jobs.guarded, began)
        await ferry.jobs.start_workers()

        await second.result(timeout=SOON)

        assert began == [first.id, second.id]
        assert (await first.get()).state is JobState.COMPLETED
        assert (await record_of(ferry, ferry.jobs.guarded, ANNA)).takeovers == 0


async def test_under_block_a_full_key_reports_that_its_owner_is_dead(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        async with ferry_process(nats_server.url) as worker:
            first = await ferry.jobs.guarded.create(Cargo(ship="anna", takes=60))
            await worker.wait_for("began")
        for _ in range(10):
            await ferry.jobs.guarded.create(ANNA)

        async def is_blocked() -> bool:
            outcome = await ferry.jobs.guarded.submit(ANNA)
            return isinstance(outcome, Rejected) and outcome.reason == "stale-blocked"

        await eventually(is_blocked)

        assert await first.release_key()
        assert (await holders(ferry, ferry.jobs.guarded, ANNA))[0] == []
        assert not await first.release_key()


async def test_a_queue_without_a_key_has_none_to_release(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))

        with pytest.raises(ConfigurationError, match='queue "pack" has no concurrency key'):
            await ref.release_key()


async def test_a_job_whose_slot_an_operator_removes_is_retried(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        tries: list[int] = []
        cancelled = asyncio.Event()

        @ferry.jobs.guarded.handle
        async def work(job: CargoJob) -> Stowed:
            tries.append(job.tries)
            if job.tries == 1:
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()
            return Stowed(number=1)

        await ferry.jobs.start_workers()
        ref = await ferry.jobs.guarded.create(ANNA)
        await eventually(lambda: tries == [1])

        assert await ref.release_key()
        await asyncio.wait_for(cancelled.wait(), 5)

        assert (await ref.wait(timeout=SOON)).tries == 2
        history = inspect_queue(ferry.jobs.guarded).event_log
        ignored = await history.newest_of(ref.id, "staleCompletionIgnored")
        assert ignored is not None
        assert ignored.event.error == "the job lost its slot of its concurrency key while it ran"
        assert isinstance(ignored.event.concurrency, dict)


async def test_a_worker_that_is_cut_off_stops_its_handler(
    nats_server: NatsServer,
) -> None:
    async with (
        Proxy(nats_server.port) as proxy,
        Ferry.connect(nats_server.url) as ferry,
        ferry_process(proxy.url) as worker,
    ):
        ref = await ferry.jobs.load.create(Cargo(ship="anna", takes=60))
        await worker.wait_for("began")

        proxy.blackhole()
        assert await worker.wait_for("ended") == [ref.id, "cancelled"]
        began: list[str] = []
        at_once(ferry.jobs.load, began)
        await ferry.jobs.start_workers()

        assert (await ref.wait(timeout=SOON)).state is JobState.COMPLETED
        assert began == [ref.id]


async def test_a_worker_that_is_cut_off_stops_its_handler_before_another_job_starts(
    nats_server: NatsServer,
) -> None:
    """The owner counts its lease from before it sent the last renewal, and stops a sixth of the lease earlier."""
    async with (
        Proxy(nats_server.port) as proxy,
        Ferry.connect(nats_server.url) as ferry,
        ferry_process(proxy.url) as worker,
    ):
        queue, began = ferry.jobs.late, list[str]()
        first = await queue.create(Cargo(ship="anna", takes=60))
        await worker.wait_for("began")
        at_once(queue, began)
        await ferry.jobs.start_workers()
        second = await queue.create(ANNA)
        await eventually(lambda: is_waiting(ferry, queue, second.id))

        proxy.blackhole()
        assert await worker.wait_for("ended") == [first.id, "cancelled"]
        assert began == []

        await second.result(timeout=SOON)
        assert (await first.wait(timeout=SOON)).state is JobState.STALE


async def test_the_result_of_a_worker_that_was_frozen_is_refused(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry, ferry_process(nats_server.url) as worker:
        queue, began = ferry.jobs.late, list[str]()
        first = await queue.create(
            Cargo(ship="anna", takes=1)
        )  # on waking, it returns before its lease is checked
        await worker.wait_for("began")
        worker.process.send_signal(signal.SIGSTOP)
        at_once(queue, began)
        await ferry.jobs.start_workers()
        second = await queue.create(ANNA)

        await second.result(timeout=SOON)
        worker.process.send_signal(signal.SIGCONT)

        assert (await worker.wait_for("ended"))[0] == first.id
        assert (await first.wait(timeout=SOON)).state is JobState.STALE
        await eventually(lambda: is_free(ferry, queue))
        events = [event.event async for event in first.events()]
        assert events[-1] == "stale"
        assert "completed" not in events


async def test_unknown_members_of_a_record_are_kept(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        queue, began = ferry.jobs.load, list[str]()
        at_once(queue, began)
        first = await queue.create(ANNA)
        await first.cancel()
        name = name_of(queue, ANNA)
        stored = await bucket_of(ferry).get(name)
        assert stored is not None
        await bucket_of(ferry).put(
            name, stored.value[:-1] + b',"acceptedBySubmissionId":{"s":{"jobId":"j"}}}'
        )
        await ferry.jobs.start_workers()

        await (await queue.create(ANNA)).result(timeout=SOON)
        await eventually(lambda: is_free(ferry, queue))

        left = await bucket_of(ferry).get(name)
        assert left is not None
        assert b'"acceptedBySubmissionId":{"s":{"jobId":"j"}}' in left.value


async def test_restarted_workers_renew_their_leases(
    nats_server: NatsServer,
) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        seen: list[datetime] = []

        @ferry.jobs.load.handle
        async def work(job: CargoJob) -> Stowed:
            assert job.lease is not None
            first = job.lease.expires_at

            def renewed() -> bool:
                return job.lease is not None and job.lease.expires_at > first

            await eventually(renewed, within=timedelta(seconds=3))
            seen.append(first)
            return Stowed(number=1)

        await (await ferry.jobs.start_workers()).stop()
        await ferry.jobs.start_workers()
        ref = await ferry.jobs.load.create(ANNA)

        assert (await ref.wait(timeout=SOON)).tries == 1
        assert len(seen) == 1


async def test_a_lease_runs_on_while_the_history_of_a_waiting_job_is_read_again(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease may be longer than the time after which a waiting job's history is read again."""
    monkeypatch.setattr(acquire, "_REREAD_AFTER", LEASE / 3)
    async with (
        Ferry.connect(nats_server.url) as ferry,
        ferry_process(nats_server.url) as worker,
    ):
        ref = await ferry.jobs.load.create(Cargo(ship="anna", takes=60))
        await worker.wait_for("began")
        worker.process.kill()
        began: list[str] = []
        at_once(ferry.jobs.load, began)
        with LogSignals() as signals:
            await ferry.jobs.start_workers()

            assert (await ref.wait(timeout=SOON)).tries == 2
        levels = [record.levelname for record in signals.of(LogEvent.JOB_REDELIVERED_LOST, job_id=ref.id)]
        assert len(levels) > 1
        assert levels.count("WARNING") == 1, "the dead worker is reported once for each delivery"
