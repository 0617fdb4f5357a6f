"""Takes, renews and releases the lease that makes this instance the leader."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Final

from trellis_nats._nats.jetstream.kv import KvBucket
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import now
from trellis_nats.errors import PermissionDenied, TransportError, WriteUnknown, WrongLastSequence
from trellis_nats.jobs.maintenance.leader_lease import (
    LeaderObservation,
    LeaseRecord,
    LeaseTiming,
    may_take,
    observe,
)

__all__ = ["Leadership"]

_log = logging.getLogger(__name__)

_RELEASE_TIMEOUT: Final = timedelta(seconds=1)
"""How long a stopping instance tries to release the lease. After that, the lease expires."""


class Leadership:
    """This instance's part in a lease that at most one instance holds.

    The lease counts as held from before its renewal was sent, while other instances count from when they saw the
    renewal: the holder stops before another instance begins.
    """

    def __init__(
        self,
        bucket: KvBucket,
        key: str,
        *,
        me: str,
        length: timedelta,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Prepare; `run` takes the lease.

        Args:
            bucket: the bucket that holds the record.
            key: the key of the record.
            me: the id of this instance.
            length: how long the service may be without a leader after its leader died.
            clock: a monotonic clock, in seconds.
        """
        self._bucket = bucket
        self._key = key
        self._me = me
        self._timing = LeaseTiming(length)
        self._clock = clock
        self._until = float("-inf")
        self._revision: int | None = None
        self._observation: LeaderObservation | None = None
        self._gained = asyncio.Event()

    @property
    def is_held(self) -> bool:
        """Whether this instance holds the lease now."""
        return self._clock() < self._until

    async def wait_until_held(self) -> None:
        """Wait until this instance holds the lease."""
        while not self.is_held:
            self._gained.clear()
            await self._gained.wait()

    async def run(self) -> None:
        """Take the lease when it is free, and renew it, until cancelled.

        Raises:
            PermissionDenied: the account may not read or write the record.
        """
        was_held, problem = False, ""
        while True:
            try:
                await self._take_or_renew()
            except PermissionDenied:
                raise
            except TransportError as error:
                if str(error) != problem:
                    fields = log_fields(LogEvent.LEADER_LEASE_NOT_RENEWED)
                    _log.warning(
                        'leader lease "%s" could not be taken or renewed: %s', self._key, error, extra=fields
                    )
                problem = str(error)
            else:
                problem = ""
            if self.is_held != was_held:
                was_held = not was_held
                if was_held:
                    fields = log_fields(LogEvent.LEADER_ELECTED)
                    _log.info('this instance holds leader lease "%s" now', self._key, extra=fields)
                else:
                    fields = log_fields(LogEvent.LEADER_LOST)
                    _log.info('this instance lost leader lease "%s"', self._key, extra=fields)
            await asyncio.sleep(self._timing.interval.total_seconds())

    async def release(self) -> None:
        """Release the lease, so that another instance can take it at once. Safe to call when it is not held."""
        was_held, self._until = self.is_held, float("-inf")
        if not was_held or self._revision is None:
            return
        record = LeaseRecord.of(None, self._timing, now())
        try:
            await self._bucket.update(self._key, record.encode(), self._revision, timeout=_RELEASE_TIMEOUT)
        except TransportError as error:
            fields = log_fields(LogEvent.LEADER_LEASE_NOT_RELEASED)
            _log.debug('leader lease "%s" was not released: %s', self._key, error, extra=fields)

    async def _take_or_renew(self) -> None:
        revision = await self._find_revision() if self._revision is None else self._revision
        if revision is None:
            return
        requested_at = self._clock()
        record = LeaseRecord.of(self._me, self._timing, now())
        try:
            ack = await self._bucket.update(
                self._key, record.encode(), revision, timeout=self._timing.interval
            )
        except WrongLastSequence:
            self._revision, self._until = None, float("-inf")
        except WriteUnknown:
            self._revision = None  # the next call reads whether the record was stored
        else:
            self._revision = ack.sequence
            self._until = requested_at + self._timing.held_for.total_seconds()
            self._gained.set()

    async def _find_revision(self) -> int | None:
        """Return the revision that this instance may overwrite. None while another instance holds the lease."""
        stored = await self._bucket.get(self._key, timeout=self._timing.interval)
        if stored is None:
            return 0
        record = LeaseRecord.parse(stored.value)
        at = self._clock()
        self._observation = observe(self._observation, revision=stored.revision, record=record, at=at)
        return stored.revision if may_take(self._observation, me=self._me, at=at) else None
