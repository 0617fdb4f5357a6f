"""Runs the maintenance of a service, from the start to the stop of its workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.kv import KvBucket
from trellis_nats.binding import JobsBinding
from trellis_nats.jobs.maintenance.job_cleaner import JobCleaner
from trellis_nats.jobs.maintenance.job_rescuer import JobRescuer
from trellis_nats.jobs.maintenance.leader import Leadership
from trellis_nats.jobs.maintenance.leader_lease import LEASE_KEY
from trellis_nats.jobs.maintenance.leader_tasks import LeaderTask, log_crash, run_leader_tasks
from trellis_nats.jobs.maintenance.pause_holder import HOLD_EVERY, PauseHolder
from trellis_nats.jobs.maintenance.rescue_report import RescueReport
from trellis_nats.jobs.store.liveness import Liveness
from trellis_nats.options import Maintenance, Retention

__all__ = ["Maintainer"]

_PURGED_MAX: Final = 10_000
"""How many jobs one run of the cleaner purges at most."""


class Maintainer:
    """The maintenance of one process, while it is the leader."""

    def __init__(
        self,
        connection: Connection,
        jobs: JobsBinding,
        options: Maintenance,
        liveness: Liveness,
        *,
        instance_id: str,
    ) -> None:
        self._connection = connection
        self._jobs = jobs
        self._options = options
        self._liveness = liveness
        self._leadership = Leadership(
            KvBucket(connection, jobs.keys_bucket),
            LEASE_KEY,
            me=instance_id,
            length=options.lease,
        )
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_leader(self) -> bool:
        """Whether this instance is the leader of its service now."""
        return self._leadership.is_held

    def start(self) -> None:
        """Take part in the election of the leader. Returns at once."""
        tasks = self._maintenance_tasks()
        if tasks:
            self._start_task(run_leader_tasks(self._leadership, tasks), "maintenance")

    async def stop(self) -> None:
        """End every task, and release the lease. Safe to call twice."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._leadership.release()

    async def rescue_lost(self) -> RescueReport:
        """Check every open job now, also when another instance is the leader. Raises as `JobRescuer.run`."""
        return await self._rescuer().run()

    async def purge_ended(self, retention: Retention | None, *, limit: int) -> int:
        """Purge ended jobs now, also when another instance is the leader. Raises as `JobCleaner.run`."""
        cleaner = JobCleaner(self._connection, self._jobs)
        return await cleaner.run(retention or self._options.retention, limit=limit)

    def _start_task(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(log_crash)

    def _maintenance_tasks(self) -> list[LeaderTask]:
        options, tasks = self._options, list[LeaderTask]()
        if options.rescue_every is not None:
            rescuer = self._rescuer()

            async def rescue(may_continue: Callable[[], bool]) -> None:
                await rescuer.run(may_continue)

            name = "the search for lost jobs"
            tasks.append(LeaderTask(name, options.rescue_every, rescuer.probe, rescue))
        if options.purge_every is not None:
            cleaner = JobCleaner(self._connection, self._jobs)

            async def purge(may_continue: Callable[[], bool]) -> None:
                await cleaner.run(options.retention, limit=_PURGED_MAX, may_continue=may_continue)
                await cleaner.purge_heartbeats(may_continue=may_continue)

            name = "the purge of ended jobs"
            tasks.append(LeaderTask(name, options.purge_every, cleaner.probe, purge))
        if tasks:
            holder = PauseHolder(self._connection, self._jobs)
            name = "the hold of paused queues"
            tasks.append(LeaderTask(name, HOLD_EVERY, tasks[0].probe, holder.run, is_extra=True))
        return tasks

    def _rescuer(self) -> JobRescuer:
        return JobRescuer(self._connection, self._jobs, self._liveness, lost_after=self._options.lost_after)
