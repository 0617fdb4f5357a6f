"""Runs what a service does beside its jobs, between the start and the stop of its workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.kv import Bucket
from trellis_nats.binding import JobsBinding
from trellis_nats.errors import PermissionDenied, TransportError
from trellis_nats.jobs.maintenance.job_cleaner import JobCleaner
from trellis_nats.jobs.maintenance.job_rescuer import JobRescuer
from trellis_nats.jobs.maintenance.leader import Leader
from trellis_nats.jobs.maintenance.leader_lease import LEASE_KEY
from trellis_nats.jobs.maintenance.report import ReconcileReport
from trellis_nats.jobs.maintenance.worker_heartbeat import WorkedQueue, WorkerHeartbeat
from trellis_nats.jobs.store.liveness import Liveness
from trellis_nats.options import Duties, Retention

__all__ = ["Maintainer"]

_log = logging.getLogger(__name__)

_PURGED_MAX: Final = 10_000
"""Jobs in one round of the duty."""
_PROBE_AGAIN: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class _Duty:
    name: str
    every: timedelta
    probe: Callable[[], Awaitable[None]]
    run: Callable[[Callable[[], bool]], Awaitable[None]]


class Maintainer:
    """The tasks beside the workers of one process."""

    def __init__(
        self, connection: Connection, jobs: JobsBinding, duties: Duties, *, instance_id: str
    ) -> None:
        self.last_report: ReconcileReport | None = None
        """What the duty found last, in this process."""
        self._connection = connection
        self._jobs = jobs
        self._options = duties
        self._claims = Liveness(connection, namespace=jobs.namespace, instance_id=instance_id)
        self._lease = Leader(
            Bucket(connection, jobs.keys_bucket),
            LEASE_KEY,
            me=instance_id,
            length=duties.lease,
        )
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def holds_lease(self) -> bool:
        """Whether this instance has the duties of its service."""
        return self._lease.is_held

    def start(self, queues: Iterable[WorkedQueue]) -> None:
        """Show the workers of these queues, and stand by for the duties. It does not wait for anything."""
        for queue in queues:
            presence = WorkerHeartbeat(self._connection, queue, every=self._options.presence_every)
            self._run(presence.show(), f"presence {queue.queue}")
        duties = self._duties()
        if duties:
            self._run(self._serve(duties), "duties")

    async def stop(self) -> None:
        """End every task, and give the lease back. Safe to call twice."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._lease.release()

    async def reconcile(self) -> ReconcileReport:
        """Look at every open job now, whoever has the lease. Raises as `Reconciler.run`."""
        self.last_report = await self._reconciler().run()
        return self.last_report

    async def purge_ended(self, retention: Retention | None, *, limit: int) -> int:
        """Purge ended jobs now, whoever has the lease. Raises as `Purger.run`."""
        purger = JobCleaner(self._connection, self._jobs)
        return await purger.run(retention or self._options.retention, limit=limit)

    def _run(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(_tell_error)

    def _duties(self) -> list[_Duty]:
        options, found = self._options, list[_Duty]()
        if options.reconcile_every is not None:
            reconciler = self._reconciler()

            async def reconcile(may_go_on: Callable[[], bool]) -> None:
                self.last_report = await reconciler.run(may_go_on)

            found.append(_Duty("reconciling", options.reconcile_every, reconciler.probe, reconcile))
        if options.purge_every is not None:
            purger = JobCleaner(self._connection, self._jobs)

            async def purge(may_go_on: Callable[[], bool]) -> None:
                await purger.run(options.retention, limit=_PURGED_MAX, may_go_on=may_go_on)
                await purger.clear_presence()

            found.append(_Duty("purging", options.purge_every, purger.probe, purge))
        return found

    def _reconciler(self) -> JobRescuer:
        return JobRescuer(self._connection, self._jobs, self._claims, lost_after=self._options.lost_after)

    async def _serve(self, duties: list[_Duty]) -> None:
        """Do the duties that the account may do, whenever this instance has the lease."""
        allowed = [duty for duty in duties if await _is_allowed(duty)]
        if not allowed:
            return
        keeping = asyncio.create_task(self._lease.keep(), name="lease")
        rounds = asyncio.create_task(self._rounds(allowed), name="duty rounds")
        try:
            done, _ = await asyncio.wait({keeping, rounds}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except PermissionDenied as denial:
            _log.warning("this instance leaves the duties to others: %s", denial)
        finally:
            keeping.cancel()
            rounds.cancel()
            await asyncio.wait({keeping, rounds})

    async def _rounds(self, duties: list[_Duty]) -> None:
        await asyncio.gather(*(self._repeat(duty) for duty in duties))

    async def _repeat(self, duty: _Duty) -> None:
        while True:
            await self._lease.wait_held()
            try:
                await duty.run(self._is_holder)
            except PermissionDenied as denial:
                _log.warning("%s is off: %s", duty.name, denial)
                return
            except TransportError as error:
                _log.warning("%s failed and is repeated in %s: %s", duty.name, duty.every, error)
            await asyncio.sleep(duty.every.total_seconds())

    def _is_holder(self) -> bool:
        return self._lease.is_held


async def _is_allowed(duty: _Duty) -> bool:
    while True:
        try:
            await duty.probe()
        except PermissionDenied as denial:
            _log.info("%s is off: %s", duty.name, denial)
            return False
        except TransportError as error:
            _log.debug("%s cannot begin yet: %s", duty.name, error)
            await asyncio.sleep(_PROBE_AGAIN.total_seconds())
        else:
            return True


def _tell_error(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s ended in an error of ours", task.get_name(), exc_info=error)
