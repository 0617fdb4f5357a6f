"""Repeats the duties of a fleet in one of several replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.kv import KvBucket
from trellis_nats.ids import new_id
from trellis_nats.jobs.maintenance.leader import Leadership
from trellis_nats.jobs.maintenance.leader_tasks import LeaderTask, log_crash, run_leader_tasks

from trellis_admin.duties.bury_undelivered import BurialReport, UndeliveredBurier
from trellis_admin.duties.expire_overdue import EXPIRE_GRACE, ExpiryReport, FindOverdue, OverdueExpirer

__all__ = ["DUTIES_LEASE_KEY", "DutyOptions", "FleetDuties"]

DUTIES_LEASE_KEY: Final = "lease.duties"
"""The key of the lease in the bucket `TRELLIS_ADMIN`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DutyOptions:
    """How often, and how patiently."""

    every: timedelta = timedelta(seconds=30)
    """The pause between two runs of a duty: the reference's janitor takes as long (17.5)."""
    grace: timedelta = EXPIRE_GRACE
    lease: timedelta = timedelta(seconds=30)
    """How long the duties may rest after the replica that ran them died."""


class FleetDuties:
    """The duties of one replica. Use it as a context manager."""

    def __init__(
        self,
        connection: Connection,
        bucket: KvBucket,
        find_overdue: FindOverdue,
        *,
        options: DutyOptions | None = None,
    ) -> None:
        """Prepare.

        Args:
            connection: where the jobs are.
            bucket: the one that holds the lease (`audit_log.open_admin_bucket`).
            find_overdue: returns the jobs that look overdue.
            options: the intervals.
        """
        self.last_expiry: ExpiryReport | None = None
        """What the last run in this replica expired."""
        self.last_burial: BurialReport | None = None
        """What the last run in this replica marked as dead."""
        self.expired = 0
        """How many jobs this replica has expired so far."""
        self.buried = 0
        """How many jobs it has marked as dead."""
        self._options = options or DutyOptions()
        self._expirer = OverdueExpirer(connection, find_overdue, grace=self._options.grace)
        self._burier = UndeliveredBurier(connection)
        self._leadership = Leadership(bucket, DUTIES_LEASE_KEY, me=new_id(), length=self._options.lease)
        self._task: asyncio.Task[None] | None = None

    @property
    def is_leader(self) -> bool:
        """Whether this replica runs the duties now."""
        return self._leadership.is_held

    async def __aenter__(self) -> Self:
        """Take part in the election, and run the duties while this replica is elected."""
        self._task = asyncio.create_task(
            run_leader_tasks(self._leadership, self._tasks()), name="duties of the fleet"
        )
        self._task.add_done_callback(log_crash)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the duties, and release the lease."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._leadership.release()

    def _tasks(self) -> list[LeaderTask]:
        async def expire(may_continue: Callable[[], bool]) -> None:
            self.last_expiry = await self._expirer.run(may_continue)
            self.expired += self.last_expiry.expired

        async def bury(may_continue: Callable[[], bool]) -> None:
            self.last_burial = await self._burier.run(may_continue)
            self.buried += self.last_burial.dead

        every = self._options.every
        return [
            LeaderTask("expiring overdue jobs", every, _always, expire),
            LeaderTask("reading advisories about deliveries", every, _always, bury),
        ]


async def _always() -> None:
    """Allow a duty: it stops when the server refuses something."""
