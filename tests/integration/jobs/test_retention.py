"""Histories of ended jobs are purged when they are due, state by state; nothing else is purged."""

from datetime import timedelta
from typing import Final

from trellis_nats import JobFailed, JobNotFound, JobRef, JobState, Maintenance, Options, Retention
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import count_by_subject, get_last_message
from trellis_nats.jobs.maintenance.job_cleaner import JobCleaner
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.inspection import inspect_queue
from tests.support.lost_work import connection_of
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON: Final = timedelta(seconds=10)
AT_ONCE: Final = timedelta(0)
NEVER: Final = Retention(
    completed=None,
    cancelled=None,
    expired=None,
    skipped=None,
    failed=None,
    stale=None,
    dead=None,
    dismissed=None,
)
ON_DEMAND: Final = Options(maintenance=Maintenance(rescue_every=None, purge_every=None))

Refs = dict[JobState, JobRef[Parcel, Receipt]]


async def jobs_in_every_state(shop: Shop) -> Refs:
    """Create jobs of queue `pack`, one of which completes, fails, is cancelled, dies, or waits."""

    @shop.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        if job.payload.number == 1:
            raise JobFailed("no stock")
        if job.payload.number == 2:
            raise RuntimeError("broken")
        return Receipt(total=1)

    host = await shop.jobs.start_workers()
    completed, failed, dead = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(3)])
    for ref in (completed, failed, dead):
        await ref.wait(timeout=SOON)
    await host.stop()
    cancelled, pending = await shop.jobs.pack.create_many([Parcel(number=3), Parcel(number=4)])
    await cancelled.cancel("changed my mind")
    return {
        JobState.COMPLETED: completed,
        JobState.FAILED: failed,
        JobState.DEAD: dead,
        JobState.CANCELLED: cancelled,
        JobState.PENDING: pending,
    }


async def kept(refs: Refs) -> set[JobState]:
    """Return the states of the jobs that are still there."""
    found: set[JobState] = set()
    for ref in refs.values():
        try:
            found.add((await ref.get()).state)
        except JobNotFound:
            continue
    return found


async def test_each_state_has_its_own_retention(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=ON_DEMAND) as shop:
        refs = await jobs_in_every_state(shop)
        assert await kept(refs) == set(refs)

        assert await shop.jobs.purge_ended() == 0, "nothing is older than a week"
        assert await shop.jobs.purge_ended(NEVER) == 0
        assert await shop.jobs.purge_ended(_only(completed=AT_ONCE, dead=AT_ONCE)) == 2
        assert await kept(refs) == {JobState.FAILED, JobState.CANCELLED, JobState.PENDING}
        assert await shop.jobs.purge_ended(_only(failed=AT_ONCE, cancelled=SOON)) == 1
        assert await kept(refs) == {JobState.CANCELLED, JobState.PENDING}
        assert await shop.jobs.purge_ended(_only(cancelled=AT_ONCE)) == 1
        assert await kept(refs) == {JobState.PENDING}
        assert await subjects(shop, "trellis.jobs.shop.>") == 1, "no event of the purged jobs is left"


def _only(
    *,
    completed: timedelta | None = None,
    failed: timedelta | None = None,
    dead: timedelta | None = None,
    cancelled: timedelta | None = None,
) -> Retention:
    return Retention(
        completed=completed,
        failed=failed,
        dead=dead,
        cancelled=cancelled,
        expired=None,
        skipped=None,
        stale=None,
        dismissed=None,
    )


async def subjects(shop: Shop, under: str) -> int:
    """Count the subjects of stream JOBS that have messages."""
    match await call(connection_of(shop), "STREAM.INFO.JOBS", {"subjects_filter": under}):
        case {"state": {"subjects": {**found}}}:
            return len(found)
        case answer:
            raise AssertionError(f"no stream: {answer}")


async def test_a_purge_respects_its_limit(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=ON_DEMAND) as shop:
        refs = await shop.jobs.pack.create_many([Parcel(number=n) for n in range(10)])
        for ref in refs:
            await ref.cancel()

        first = await shop.jobs.purge_ended(_only(cancelled=AT_ONCE), limit=7)
        rest = await shop.jobs.purge_ended(_only(cancelled=AT_ONCE), limit=7)

        assert (first, rest) == (7, 3)


async def test_a_failed_job_that_an_operator_retried_is_kept(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=ON_DEMAND) as shop:
        refs = await jobs_in_every_state(shop)
        history, job_id = inspect_queue(shop.jobs.pack).event_log, refs[JobState.FAILED].id
        created, ended = await history.newest_of(job_id, "created"), await history.newest(job_id)
        assert created is not None
        assert ended is not None
        again = {"event_type": "retried", "previous_state": JobState.FAILED}
        await history.append(created.event.model_copy(update=again), after=ended.sequence)

        assert await shop.jobs.purge_ended(_only(failed=AT_ONCE)) == 0
        assert (await refs[JobState.FAILED].get()).state is JobState.PENDING


async def test_a_subject_with_a_wildcard_purges_nothing(nats_server: NatsServer) -> None:
    """A server stores a literal `*`; as a filter, it would match every job of the queue."""
    async with Shop.connect(nats_server.url, options=ON_DEMAND) as shop:
        refs = await jobs_in_every_state(shop)
        for event in ("created", "completed"):
            body = await inspect_queue(shop.jobs.pack).event_log.newest_of(refs[JobState.COMPLETED].id, event)
            assert body is not None
            await publish_acked(connection_of(shop), f"trellis.jobs.shop.pack.*.{event}", body.event.encode())

        assert await shop.jobs.purge_ended(_only(completed=AT_ONCE)) == 1
        assert await kept(refs) == set(refs) - {JobState.COMPLETED}


async def test_the_leader_purges_ended_jobs_automatically(nats_server: NatsServer) -> None:
    maintenance = Maintenance(
        rescue_every=None, purge_every=timedelta(milliseconds=20), retention=_only(completed=AT_ONCE)
    )
    async with Shop.connect(nats_server.url, options=Options(maintenance=maintenance)) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        async def is_gone() -> bool:
            try:
                await ref.get()
            except JobNotFound:
                return True
            return False

        await eventually(is_gone)


async def test_only_old_heartbeats_of_this_service_are_purged(nats_server: NatsServer) -> None:
    """Without the purge, the stream keeps each heartbeat for ninety days."""
    async with Shop.connect(nats_server.url, options=ON_DEMAND) as shop:
        connection, jobs = connection_of(shop), shop.jobs.runtime.binding.jobs
        assert jobs is not None
        ref = await shop.jobs.pack.create(Parcel(number=1))
        for number, instance in enumerate("aaaaab"):
            body = b'{"number":%d}' % number
            await publish_acked(connection, f"trellis.jobs.workers.shop.pack.{instance}.heartbeat", body)
        await publish_acked(connection, "trellis.jobs.workers.other.pack.c.heartbeat", b"{}")
        cleaner = JobCleaner(connection, jobs)

        await cleaner.purge_heartbeats()
        assert await subjects(shop, "trellis.jobs.workers.>") == 3
        assert await count_by_subject(connection, "JOBS", "trellis.jobs.workers.>") == {
            "trellis.jobs.workers.shop.pack.a.heartbeat": 5,
            "trellis.jobs.workers.shop.pack.b.heartbeat": 1,
            "trellis.jobs.workers.other.pack.c.heartbeat": 1,
        }
        await cleaner.purge_heartbeats(all_kept=AT_ONCE)
        kept = await count_by_subject(connection, "JOBS", "trellis.jobs.workers.>")
        assert sorted(kept.values()) == [1, 1, 3], "the newest of each worker stay"
        newest = await get_last_message(connection, "JOBS", "trellis.jobs.workers.shop.pack.a.heartbeat")
        assert newest is not None
        assert newest.data == b'{"number":4}'
        await cleaner.purge_heartbeats(kept=AT_ONCE)

        assert await subjects(shop, "trellis.jobs.workers.>") == 1
        assert (await ref.get()).state is JobState.PENDING
