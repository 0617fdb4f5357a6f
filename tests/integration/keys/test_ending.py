"""Jobs of a keyed queue that end without a result: each frees its key, and not too early."""

from datetime import timedelta

from trellis_nats import JobFailed, JobState
from trellis_nats.testing import NatsServer

from tests.support.cargo_watch import Watch
from tests.support.eventually import eventually
from tests.support.ferry import Cargo, CargoJob, CargoQueue, Ferry, Stowed
from tests.support.records import holders

ANNA = Cargo(ship="anna")
SOON = timedelta(seconds=20)


async def test_a_failed_job_frees_its_key(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:

        @ferry.jobs.strict.handle
        async def work(job: CargoJob) -> Stowed:
            raise JobFailed("leaks")

        await ferry.jobs.start_workers()
        for _ in range(3):
            ref = await ferry.jobs.strict.create(ANNA)
            assert (await ref.wait(timeout=SOON)).state is JobState.FAILED
            await eventually(lambda: is_free(ferry, ferry.jobs.strict))


async def is_free(ferry: Ferry, queue: CargoQueue) -> bool:
    return await holders(ferry, queue, ANNA) == ([], [])


async def test_a_running_job_that_is_cancelled_keeps_its_slot_until_its_handler_has_ended(
    nats_server: NatsServer,
) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        watch = Watch()
        watch.works(ferry.jobs.load)
        await ferry.jobs.start_workers()
        first = await ferry.jobs.load.create(Cargo(ship="anna", number=1))
        await eventually(lambda: watch.running["anna"] == 1)
        second = await ferry.jobs.load.create(Cargo(ship="anna", number=2))

        await first.cancel()
        active, _ = await holders(ferry, ferry.jobs.load, ANNA)
        assert active == [first.id]
        watch.go_on.set()

        assert (await second.wait(timeout=SOON)).state is JobState.COMPLETED
        assert watch.most["anna"] == 1
        await eventually(lambda: is_free(ferry, ferry.jobs.load))


async def test_a_cancelled_job_that_waits_in_a_worker_never_runs(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        watch = Watch()
        watch.works(ferry.jobs.load)
        await ferry.jobs.start_workers()
        refs = [await ferry.jobs.load.create(Cargo(ship="anna", number=n)) for n in (1, 2, 3)]
        await eventually(lambda: watch.running["anna"] == 1)

        await refs[1].cancel()
        watch.go_on.set()
        await refs[2].result(timeout=SOON)

        assert watch.began == [1, 3]
        assert (await refs[1].get()).state is JobState.CANCELLED
        await eventually(lambda: is_free(ferry, ferry.jobs.load))


async def test_a_job_whose_deadline_passes_while_it_waits_expires(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        watch = Watch()
        watch.works(ferry.jobs.load)
        await ferry.jobs.start_workers()
        await ferry.jobs.load.create(Cargo(ship="anna", number=1))
        await eventually(lambda: watch.running["anna"] == 1)

        late = await ferry.jobs.load.create(
            Cargo(ship="anna", number=2), deadline=timedelta(milliseconds=300)
        )

        assert (await late.wait(timeout=SOON)).state is JobState.EXPIRED
        watch.go_on.set()
        await eventually(lambda: is_free(ferry, ferry.jobs.load))


async def test_a_stopping_worker_releases_waiting_jobs_at_once(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry, Ferry.connect(nats_server.url) as second:
        watch, after = Watch(), Watch()
        watch.works(ferry.jobs.load)
        host = await ferry.jobs.start_workers()
        refs = [await ferry.jobs.load.create(Cargo(ship="anna", number=n)) for n in (1, 2, 3)]
        await eventually(lambda: watch.running["anna"] == 1)

        await host.stop(grace=timedelta(0))
        after.works(second.jobs.load)
        after.go_on.set()
        await second.jobs.start_workers()

        for ref in refs:
            snapshot = await ref.wait(timeout=timedelta(seconds=5))
            assert (snapshot.state, snapshot.tries) == (JobState.COMPLETED, 1)
        assert after.began == [1, 2, 3]
