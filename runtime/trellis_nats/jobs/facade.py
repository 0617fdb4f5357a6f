"""All queues of a service together: the base of the generated `JobsFacade`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from trellis_nats._nats.heartbeat import ProgressThread
from trellis_nats.errors import ConfigurationError, KeyedQueueUnsupported
from trellis_nats.grace import Grace
from trellis_nats.jobs.claims import Claims
from trellis_nats.jobs.executor import Executor
from trellis_nats.jobs.follow import JobEvent, followed
from trellis_nats.jobs.queue import JobQueue
from trellis_nats.jobs.variables import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.worker import Worker
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
        await self._jobs.stop(Grace(self._jobs.runtime.options.shutdown_grace if grace is None else grace))


class Jobs:
    """The job queues of one service."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._workers: list[Worker] = []
        self._heartbeats: ProgressThread | None = None
        runtime.workloads.append(self)

    async def start_workers(self) -> WorkerHost:
        """Start to work every queue that has a handler, and return what stops them again.

        `service.run()` does this around SIGTERM.

        Raises:
            ConfigurationError: the workers run already, or no queue has a handler.
            KeyedQueueUnsupported: a queue with a handler declares `keyConcurrency`.
            ProvisioningError: a consumer is missing.
        """
        if not self._handled():
            raise ConfigurationError("no queue has a handler: register one before start_workers()")
        await self.start()
        return WorkerHost(self)

    async def start(self) -> None:
        """Start to work every queue that has a handler; nothing to do when none has.

        Raises:
            ConfigurationError: the workers run already.
            KeyedQueueUnsupported: a queue with a handler declares `keyConcurrency`.
            ProvisioningError: a consumer is missing.
        """
        if self._heartbeats is not None:
            raise ConfigurationError("the job workers of this service run already")
        handled = self._handled()
        for queue in handled:
            if queue.spec.key is not None or queue.binding.key_concurrency is not None:
                raise KeyedQueueUnsupported(queue.spec.name)
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
        except BaseException:
            await self.stop(Grace(timedelta(0)))
            raise

    async def stop(self, grace: Grace) -> None:
        """Stop every worker, all at the same time."""
        workers, self._workers = self._workers, []
        await asyncio.gather(*(worker.stop(grace) for worker in workers))
        heartbeats, self._heartbeats = self._heartbeats, None
        if heartbeats is not None:
            await heartbeats.stop()

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
        async with followed(self.runtime.connection, prefixes) as events:
            yield events

    def _queues(self) -> list[JobQueue[object, object]]:
        return [each for each in vars(self).values() if isinstance(each, JobQueue)]

    def _handled(self) -> list[JobQueue[object, object]]:
        return [queue for queue in self._queues() if queue.registration is not None]

    def _claims(self) -> Claims:
        jobs = self.runtime.binding.jobs
        return Claims(
            self.runtime.connection,
            namespace=self.runtime.contract.name if jobs is None else jobs.namespace,
            instance_id=self.runtime.instance_id,
        )

    def _worker(
        self, queue: JobQueue[PayloadT, ResultT, UpdateT], heartbeats: ProgressThread, claims: Claims
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
            claims=claims,
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
