"""Clears the histories of jobs away that ended long enough ago, and old signs of life of workers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from trellis_nats._nats.api import JsonObject, call
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.streams import last_message
from trellis_nats.binding import JobsBinding
from trellis_nats.ids import new_id
from trellis_nats.jobs.duties.listing import Entry, listing, probe_listing
from trellis_nats.jobs.duties.pace import Pace
from trellis_nats.jobs.duties.parallel import each_of
from trellis_nats.jobs.duties.presence import presence_filter
from trellis_nats.jobs.duties.retention import ages, is_due, job_filter
from trellis_nats.jobs.event import LifecycleEvent
from trellis_nats.jobs.states import EventType
from trellis_nats.jobs.subjects import STREAM
from trellis_nats.options import Retention

__all__ = ["Purger"]

_log = logging.getLogger(__name__)

_PER_SECOND: Final = 2_000
"""A purge costs a server about 0.1 ms (docs/decisions/0008)."""
_CHECKED: Final = 64
"""How many are looked at between two looks at the lease."""
_PRESENCE_KEPT: Final = timedelta(days=1)
"""The stream keeps every sign of life: 2,880 a day for each queue of each instance. Readers want the newest."""


@dataclass(frozen=True, slots=True)
class _Due:
    """What is looked for."""

    events: list[EventType]
    until: datetime
    """Jobs that ended later are kept."""


class Purger:
    """Purges the ended jobs of every queue of a service."""

    def __init__(self, connection: Connection, jobs: JobsBinding) -> None:
        self._connection = connection
        self._jobs = jobs
        self._prefixes = [queue.publish_prefix for queue in jobs.queues.values()]
        self._listing_pace = Pace()
        self._pace = Pace(_PER_SECOND)

    async def probe(self) -> None:
        """See whether the account may do this: purge a job that does not exist.

        Raises:
            PermissionDenied: it may not.
            TransportError: NATS did not answer.
        """
        await probe_listing(self._connection, self._filters([EventType.COMPLETED]))
        await self._purge(f"{self._prefixes[0]}.{new_id()}.>", up_to=0)

    async def run(
        self, retention: Retention, *, limit: int, may_go_on: Callable[[], bool] = lambda: True
    ) -> int:
        """Purge what is due, `limit` jobs at most; stop early when `may_go_on` says no. Return how many jobs it was.

        Raises:
            PermissionDenied: the account may not do this.
            TransportError: NATS did not answer. What was purged until then stays purged.
        """
        purged = 0
        for age, events in ages(retention).items():
            purged += await self._run(age, events, limit - purged, may_go_on)
        if purged:
            _log.info("purged %d ended jobs", purged)
        return purged

    async def clear_presence(self) -> None:
        """Purge the signs of life that are older than a day. Raises as `run`."""
        signs = presence_filter(self._jobs.namespace)
        async with listing(self._connection, [signs], pace=self._listing_pace) as found:
            async for page in found.pages():
                old = [entry for entry in page if entry.time <= found.now - _PRESENCE_KEPT]
                if old:
                    await self._purge(signs, up_to=old[-1].sequence)
                if len(old) < len(page):
                    break

    async def _run(
        self, age: timedelta, events: list[EventType], limit: int, may_go_on: Callable[[], bool]
    ) -> int:
        purged = 0
        async with listing(self._connection, self._filters(events), pace=self._listing_pace) as found:
            due = _Due(events, found.now - age)
            async for page in found.pages():
                old = [entry for entry in page if entry.time <= due.until]
                for start in range(0, len(old), _CHECKED):
                    if purged >= limit or not may_go_on():
                        return purged
                    some = old[start : start + min(_CHECKED, limit - purged)]
                    await self._pace.spend(len(some))
                    purged += sum(await each_of(some, lambda entry: self._purge_if_due(entry, due)))
                if len(old) < len(page):
                    break
        return purged

    async def _purge_if_due(self, entry: Entry, due: _Due) -> bool:
        job = job_filter(entry.subject)
        newest = None if job is None else await last_message(self._connection, STREAM, job)
        if job is None or newest is None:
            return False
        event = LifecycleEvent.parse(newest.data)
        if not is_due(event, stored=newest.time, until=due.until, events=due.events):
            return False
        return await self._purge(job, up_to=newest.sequence) > 0

    async def _purge(self, subject_filter: str, *, up_to: int) -> int:
        """Purge up to a sequence: what was written after the decision, such as an operator's retry, stays."""
        body: JsonObject = {"filter": subject_filter, "seq": up_to + 1}
        answer = await call(self._connection, f"STREAM.PURGE.{STREAM}", body)
        purged = answer.get("purged")
        return purged if isinstance(purged, int) else 0

    def _filters(self, events: list[EventType]) -> list[str]:
        return [f"{prefix}.*.{event}" for prefix in self._prefixes for event in events]
