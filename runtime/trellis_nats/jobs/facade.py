"""All queues of a service together: the base of the generated `JobsFacade`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from trellis_nats._nats.connection import Connection
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.uninterrupted import run_to_end
from trellis_nats.binding import JobsBinding
from trellis_nats.errors import ConfigurationError
from trellis_nats.errors.configuration import require_duration, require_kind
from trellis_nats.jobs.dead_job import DeadJob, dead_jobs
from trellis_nats.jobs.maintenance.maintainer import Maintainer
from trellis_nats.jobs.maintenance.rescue_report import RescueReport
from trellis_nats.jobs.process_workers import HandledQueue, ProcessWorkers
from trellis_nats.jobs.questions import build_liveness
from trellis_nats.jobs.queue import JobQueue, setup_of
from trellis_nats.jobs.queue_setup import QueueSetup
from trellis_nats.jobs.queue_surface import JobsSurface
from trellis_nats.jobs.store.event_stream import JobEvent, follow_events
from trellis_nats.jobs.store.liveness import Liveness
from trellis_nats.options import Retention
from trellis_nats.runtime import Runtime

__all__ = ["Jobs", "WorkerHost"]

# Any: the facade never looks at payloads, results or updates.
_Setup = QueueSetup[Any, Any, Any]

_log = logging.getLogger(__name__)

_REMEDY: Final = (
    "; it works others, so register their handlers too, or state with service.jobs.%s.leave_to_others() that other processes "
    "work them"
)


class WorkerHost:
    """The running workers of this process."""

    def __init__(
        self,
        connection: Connection,
        stop: Callable[[GracePeriod], Coroutine[object, object, None]],
        shutdown_grace: timedelta,
    ) -> None:
        self._connection = connection
        self._stop = stop
        self._shutdown_grace = shutdown_grace

    async def stop(self, *, grace: timedelta | None = None) -> None:
        """Stop fetching jobs at once, let running handlers end, and give the rest back to the queue.

        Stopping twice is harmless. A cancellation ends the grace period, and is raised when the workers have stopped.

        Args:
            grace: how long handlers may take to end. Then they are cancelled, and their jobs go back to the queue
                without losing an attempt. The default is `Options.shutdown_grace`.

        Raises:
            ConfigurationError: `grace` is not a `timedelta`, or is negative.
        """
        self._connection.require_own_loop()
        require_duration("grace", grace, may_be_zero=True)
        period = GracePeriod(self._shutdown_grace if grace is None else grace)
        await run_to_end(self._stop(period), on_cancel=period.end)


class Jobs:
    """The job queues of one service."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        """What the service is built on."""
        self._running: ProcessWorkers | None = None
        self._liveness: Liveness | None = None
        self._maintainer: Maintainer | None = None
        runtime.health.reserve("jobs.")
        self._changing = asyncio.Lock()
        runtime.register(JobsSurface(self._start_unless_running, self._stop, self._release))

    async def start_workers(self) -> WorkerHost:
        """Start to work every queue that has a handler.

        `service.run()` and `service.start()` do this too; called after it, they serve the RPCs and leave the workers as they
        are. `service.run()` stops them on SIGTERM.

        Returns:
            The running workers; its `stop()` ends them.

        Raises:
            ConfigurationError: the workers run already, or no queue has a handler.
            PermissionsMissing: the account lacks permissions that the handlers need; all of them are named.
            ProvisioningError: a queue's consumer does not exist.
        """
        self.runtime.connection.require_own_loop()
        if not self._handled():
            raise ConfigurationError("no queue has a handler: register one before start_workers()")
        async with self._changing:
            await self.runtime.check_permissions()
            await self._start()
        return WorkerHost(
            self.runtime.connection, self._stop_and_release, self.runtime.options.shutdown_grace
        )

    async def rescue_lost(self) -> RescueReport:
        """Find accepted jobs whose work message is missing, and enqueue them again.

        It runs now, in this process, whether or not this process is the leader that does so regularly
        (`Options.maintenance`).

        A server can lose a job's message between its streams, and an operator can purge the stream that workers read.
        A job counts as lost when it has not ended, has no work message, and `Options.maintenance.lost_after` has
        passed since its newest event. If it is active, its ack wait must have passed too, and no process may answer
        that it works on the job.

        Raises:
            PermissionDenied: the account may not list stream JOBS, or may not publish work. Workers do not need that.
            ConfigurationError: the contract has no queue.
            TransportError: NATS did not answer.
        """
        self.runtime.connection.require_own_loop()
        return await self._get_maintainer().rescue_lost()

    async def purge_ended(self, retention: Retention | None = None, *, limit: int = 10_000) -> int:
        """Purge the histories of jobs that ended long enough ago, and return how many were purged.

        `ref` no longer finds a purged job, and its idempotency key may create a new one. Ages are judged by the
        server's clock.

        Args:
            retention: how long to keep jobs, by how they ended. The default is that of `Options.maintenance`. It leaves
                operations alone.
            limit: how many to purge at most.

        Raises:
            PermissionDenied: the account may not list or purge stream JOBS. Workers do not need that.
            ConfigurationError: the contract has no queue, or an argument is not valid.
            TransportError: NATS did not answer; what was purged until then stays purged.
        """
        self.runtime.connection.require_own_loop()
        if retention is not None:
            require_kind("retention", retention, Retention, "a Retention")
        if limit < 1:
            raise ConfigurationError(f"limit must be at least 1, got {limit}")
        return await self._get_maintainer().purge_ended(retention, limit=limit)

    async def dead(self) -> AsyncGenerator[DeadJob[Any, Any, Any], None]:
        """Iterate over the jobs of every queue that are dead when the iteration begins, queue by queue: see `JobQueue.dead`.

        ```python
        async for job in service.jobs.dead():
            print(job.ref.queue, job.ref.id, job.snapshot.last_error)
        ```

        Raises:
            PermissionDenied: the account may not list stream JOBS (role `operator`). Workers do not need that.
            TransportError: NATS did not answer.
        """
        self.runtime.connection.require_own_loop()
        for setup in self._setups():
            async with aclosing(dead_jobs(setup.context)) as jobs:
                async for job in jobs:
                    yield job

    @property
    def is_leader(self) -> bool:
        """Whether this process is the leader, which does the maintenance of its service. At most one process is."""
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
            PermissionDenied: the account may not create a consumer on stream JOBS. Workers do not need that.
            ConfigurationError: the contract has no queue.
        """
        self.runtime.connection.require_own_loop()
        prefixes = [queue.publish_prefix for queue in self._binding().queues.values()]
        async with follow_events(self.runtime.connection, prefixes) as events:
            yield events

    # --- the workers of this process -------------------------------------------------------------------------------

    async def _start_unless_running(self) -> None:
        async with self._changing:
            if self._running is None:
                await self._start()

    async def _start(self) -> None:
        """Start to work every queue that has a handler; do nothing when none has.

        Raises:
            ConfigurationError: the workers run already.
            ProvisioningError: a queue's consumer does not exist.
        """
        if self._running is not None:
            raise ConfigurationError("the job workers of this service run already")
        handled = self._handled()
        for setup in self._setups():
            setup.seal()
        self._log_queues_without_handlers()
        if not handled:
            return
        self._running = ProcessWorkers(self.runtime, self._binding(), handled, self._get_liveness())
        try:
            await self._running.start()
            self._get_maintainer().start()
        except BaseException:
            await run_to_end(self._give_up())
            raise

    def _log_queues_without_handlers(self) -> None:
        """Warn of queues that the program may have forgotten: their jobs would wait without an error."""
        setups = {name: setup_of(queue) for name, queue in self._queues().items()}
        forgotten = {
            name: setup
            for name, setup in setups.items()
            if setup.registration is None and not setup.is_left_to_others
        }
        if forgotten and not any(surface.is_served() for surface in self.runtime.surfaces):
            _log.warning(
                "%s has no handler in this process, which works no job: register handlers before the start, as in "
                "@service.jobs.%s.handle",
                self.runtime.contract.id,
                next(iter(forgotten)),
                extra=log_fields(LogEvent.NOTHING_WORKED),
            )
            return
        is_worker = any(setup.registration is not None for setup in setups.values())
        if forgotten:
            _log.log(
                logging.WARNING if is_worker else logging.INFO,
                "queues without a handler in this process: %s%s",
                ", ".join(setup.name for setup in forgotten.values()),
                _REMEDY % next(iter(forgotten)) if is_worker else "",
                extra=log_fields(LogEvent.QUEUE_NOT_WORKED),
            )

    async def _stop(self, grace: GracePeriod) -> None:
        """Stop every worker, all at the same time. Handlers that cannot be stopped keep their jobs until `_release`."""
        async with self._changing:
            await self._stop_running(grace)

    async def _stop_running(self, grace: GracePeriod) -> None:
        if self._running is not None:
            await self._running.stop(grace)
        if self._maintainer is not None:
            await self._maintainer.stop()

    async def _release(self) -> None:
        """Give back the jobs of the handlers that still run, and end the heartbeats."""
        async with self._changing:
            await self._release_running()

    async def _release_running(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running.release()

    async def _stop_and_release(self, grace: GracePeriod) -> None:
        await self._stop(grace)
        await self._release()

    async def _give_up(self) -> None:
        await self._stop_running(GracePeriod(timedelta(0)))
        await self._release_running()

    def _queues(self) -> dict[str, JobQueue[Any, Any, Any]]:
        return {name: value for name, value in vars(self).items() if isinstance(value, JobQueue)}

    def _setups(self) -> list[_Setup]:
        return [setup_of(queue) for queue in self._queues().values()]

    def _handled(self) -> list[HandledQueue]:
        return [
            HandledQueue(setup, setup.registration)
            for setup in self._setups()
            if setup.registration is not None
        ]

    def _binding(self) -> JobsBinding:
        jobs = self.runtime.binding.jobs
        if jobs is None or not jobs.queues:
            raise ConfigurationError(f"{self.runtime.contract.id} has no job queue")
        return jobs

    def _get_liveness(self) -> Liveness:
        if self._liveness is None:
            self._liveness = build_liveness(self.runtime, self._binding())
        return self._liveness

    def _get_maintainer(self) -> Maintainer:
        if self._maintainer is None:
            runtime = self.runtime
            self._maintainer = Maintainer(
                runtime.connection,
                self._binding(),
                runtime.options.maintenance,
                self._get_liveness(),
                instance_id=runtime.instance_id,
            )
        return self._maintainer
