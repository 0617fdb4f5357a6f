"""All queues of a service together: the base of the generated `JobsFacade`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats.errors import ConfigurationError
from trellis_nats.jobs.keys.acquire import SlotAcquirer
from trellis_nats.jobs.maintenance.maintainer import Maintainer
from trellis_nats.jobs.maintenance.rescue_report import RescueReport
from trellis_nats.jobs.maintenance.worker_heartbeat import WorkedQueue
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.queue import JobQueue
from trellis_nats.jobs.queue_surface import JobsSurface
from trellis_nats.jobs.store.event_stream import JobEvent, follow_events
from trellis_nats.jobs.store.liveness import Liveness
from trellis_nats.jobs.work.clock_skew import ClockSkew
from trellis_nats.jobs.work.executor import Executor
from trellis_nats.jobs.work.worker import Worker
from trellis_nats.options import Retention
from trellis_nats.runtime import Runtime

__all__ = ["Jobs", "WorkerHost"]


class WorkerHost:
    """The running workers of this process."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def stop(self, *, grace: timedelta | None = None) -> None:
        """Stop fetching at once, let running handlers end within the grace, and give the rest back.

        `grace` defaults to `Options.shutdown_grace`. A job that is given back keeps its tries. Stopping twice is
        harmless.
        """
        await self._jobs.stop(
            GracePeriod(self._jobs.runtime.options.shutdown_grace if grace is None else grace)
        )


class Jobs:
    """The job queues of one service."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._workers: list[Worker] = []
        self._heartbeats: ProgressThread | None = None
        self._maintainer: Maintainer | None = None
        runtime.health.reserve("jobs.")
        runtime.register(JobsSurface(self.start, self.stop))

    async def start_workers(self) -> WorkerHost:
        """Start to work every queue that has a handler, and return what stops them again.

        `service.run()` does this around SIGTERM.

        Raises:
            ConfigurationError: the workers run already, or no queue has a handler.
            PermissionsMissing: the account may not do what the handlers need; every missing permission is named.
            ProvisioningError: a consumer is missing.
        """
        if not self._handled():
            raise ConfigurationError("no queue has a handler: register one before start_workers()")
        await self.runtime.check_permissions()
        await self.start()
        return WorkerHost(self)

    async def start(self) -> None:
        """Start to work every queue that has a handler; nothing to do when none has.

        Raises:
            ConfigurationError: the workers run already.
            ProvisioningError: a consumer is missing.
        """
        if self._heartbeats is not None:
            raise ConfigurationError("the job workers of this service run already")
        handled = self._handled()
        for queue in self._queues():
            queue.seal()
        if not handled:
            return
        claims = self._claims()
        self._heartbeats = ProgressThread(self.runtime.connection.settings)
        claims.answer_from(self._heartbeats)
        await self._heartbeats.start()
        try:
            for queue in handled:
                worker = self._worker(queue, self._heartbeats, claims)
                await worker.start()
                self._workers.append(worker)
            await self._clock(handled[0]).watch(self.runtime.connection, self._heartbeats)
            self._get_maintainer().start(map(self._worked, handled))
        except BaseException:
            await self.stop(GracePeriod(timedelta(0)))
            raise

    async def stop(self, grace: GracePeriod) -> None:
        """Stop every worker, all at the same time."""
        workers, self._workers = self._workers, []
        await asyncio.gather(*(worker.stop(grace) for worker in workers))
        heartbeats, self._heartbeats = self._heartbeats, None
        if heartbeats is not None:
            await heartbeats.stop()
        if self._maintainer is not None:
            await self._maintainer.stop()

    async def rescue_lost(self) -> RescueReport:
        """Find accepted jobs that no worker will receive, and enqueue them again.

        Runs now, also when another instance is the leader that does this regularly (`Options.maintenance`).

        A server can lose a job's message between its streams, and an operator can purge the one that workers read.
        A job is lost when it has not ended, has no work message, and `Options.maintenance.lost_after` has passed since its
        newest event, and if it is active, its ack wait too, and no process answers that it works on it.

        Raises:
            PermissionDenied: the account may not list stream JOBS, or may not publish work. A worker's account need not.
            ConfigurationError: the contract has no queue.
            TransportError: NATS did not answer.
        """
        return await self._get_maintainer().rescue_lost()

    async def purge_ended(self, retention: Retention | None = None, *, limit: int = 10_000) -> int:
        """Purge the histories of jobs that ended long enough ago, `limit` at most, and return how many it was.

        `retention` defaults to that of `Options.maintenance`. Ages are judged by the server's clock alone. What is purged
        is not found any more by `ref`, and its idempotency key may make a new job.

        Raises:
            PermissionDenied: the account may not list or purge stream JOBS. A worker's account need not.
            ConfigurationError: the contract has no queue.
            TransportError: NATS did not answer; what was purged until then stays purged.
        """
        return await self._get_maintainer().purge_ended(retention, limit=limit)

    @property
    def last_rescue(self) -> RescueReport | None:
        """The result of the last search for lost jobs in this process. None: it has not searched yet."""
        return None if self._maintainer is None else self._maintainer.last_report

    @property
    def is_leader(self) -> bool:
        """Whether this instance is the leader, which does the maintenance of its service. At most one instance is."""
        return self._maintainer is not None and self._maintainer.is_leader

    @asynccontextmanager
    async def follow(self) -> AsyncGenerator[AsyncIterator[JobEvent], None]:
        """Follow every event of every queue of this service, from now on, in order, through reconnects.

        ```python
        async with service.jobs.follow() as events:
            async for event in events:
                print(event.at, event.queue, event.event)
        ```

        Raises:
            PermissionDenied: the account may not make a consumer on stream JOBS. A worker's account need not.
            ConfigurationError: the contract has no queue.
        """
        jobs = self.runtime.binding.jobs
        if jobs is None or not jobs.queues:
            raise ConfigurationError(f"{self.runtime.contract.id} has no job queue to follow")
        prefixes = [queue.publish_prefix for queue in jobs.queues.values()]
        async with follow_events(self.runtime.connection, prefixes) as events:
            yield events

    def _queues(self) -> list[JobQueue[object, object]]:
        return [each for each in vars(self).values() if isinstance(each, JobQueue)]

    def _handled(self) -> list[JobQueue[object, object]]:
        return [queue for queue in self._queues() if queue.registration is not None]

    def _get_maintainer(self) -> Maintainer:
        if self._maintainer is None:
            runtime = self.runtime
            jobs = runtime.binding.jobs
            if jobs is None or not jobs.queues:
                raise ConfigurationError(f"{runtime.contract.id} has no job queue")
            self._maintainer = Maintainer(
                runtime.connection, jobs, runtime.options.maintenance, instance_id=runtime.instance_id
            )
        return self._maintainer

    def _worked(self, queue: JobQueue[object, object]) -> WorkedQueue:
        jobs, registration = self.runtime.binding.jobs, queue.registration
        name = self.runtime.contract.name
        return WorkedQueue(
            namespace=name if jobs is None else jobs.namespace,
            service=name if jobs is None else jobs.service,
            queue=queue.binding.queue_type,
            instance_id=self.runtime.instance_id,
            concurrency=(None if registration is None else registration.concurrency)
            or queue.binding.concurrency,
        )

    def _claims(self) -> Liveness:
        jobs = self.runtime.binding.jobs
        return Liveness(
            self.runtime.connection,
            namespace=self.runtime.contract.name if jobs is None else jobs.namespace,
            instance_id=self.runtime.instance_id,
        )

    def _clock(self, queue: JobQueue[object, object]) -> ClockSkew:
        jobs = self.runtime.binding.jobs
        return ClockSkew("" if jobs is None else jobs.work_stream, queue.binding.consumer_name)

    def _worker(
        self, queue: JobQueue[PayloadT, ResultT, UpdateT], heartbeats: ProgressThread, claims: Liveness
    ) -> Worker:
        stopping, grace_over = asyncio.Event(), asyncio.Event()
        jobs = self.runtime.binding.jobs
        registration = queue.registration
        if registration is None or jobs is None:
            raise ConfigurationError(f'job "{queue.spec.name}" has no handler')
        executor = Executor(
            queue.access,
            queue.binding,
            registration,
            liveness=claims,
            slots=self._slot_acquirer(queue, heartbeats, claims, stopping),
            stopping=stopping,
            grace_over=grace_over,
        )
        return Worker(
            self.runtime.connection,
            queue.binding,
            executor,
            heartbeats,
            self.runtime.health,
            concurrency=registration.concurrency or queue.binding.concurrency,
            work_stream=jobs.work_stream,
            stopping=stopping,
            grace_over=grace_over,
        )

    def _slot_acquirer(
        self,
        queue: JobQueue[PayloadT, ResultT, UpdateT],
        heartbeats: ProgressThread,
        claims: Liveness,
        stopping: asyncio.Event,
    ) -> SlotAcquirer | None:
        keys = queue.access.keys
        if keys is None:
            return None
        return SlotAcquirer(
            self.runtime.connection,
            keys.stores,
            keys.reservations,
            keys.event_log,
            claims,
            heartbeats,
            stopping=stopping,
        )
