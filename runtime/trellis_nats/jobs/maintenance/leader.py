"""Takes the lease, renews it, and gives it back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Final

from trellis_nats._nats.jetstream.kv import Bucket
from trellis_nats.clock import now
from trellis_nats.errors import PermissionDenied, TransportError, WriteUnknown, WrongLastSequence
from trellis_nats.jobs.maintenance.leader_lease import (
    LeaderObservation,
    LeaseRecord,
    Timing,
    may_take,
    observe,
)

__all__ = ["Leader"]

_log = logging.getLogger(__name__)

_RELEASE: Final = timedelta(seconds=1)
"""How long a stopping instance tries to give the lease back. Else it runs out by itself."""


class Leader:
    """One instance's part in a lease that at most one instance holds.

    It counts as held only for a time that began before the renewal was sent, while others count from when they saw
    it: the holder stops before anybody else begins.
    """

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        *,
        me: str,
        length: timedelta,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Prepare.

        Args:
            bucket: where the record is.
            key: the record's key.
            me: the instance's id.
            length: how long the lease may be without a holder after its holder died.
            clock: a monotonic clock in seconds.
        """
        self._bucket = bucket
        self._key = key
        self._me = me
        self._timing = Timing(length)
        self._clock = clock
        self._until = float("-inf")
        self._revision: int | None = None
        self._sighting: LeaderObservation | None = None
        self._gained = asyncio.Event()

    @property
    def is_held(self) -> bool:
        """Whether this instance holds the lease now."""
        return self._clock() < self._until

    async def wait_held(self) -> None:
        """Wait until this instance holds the lease."""
        while not self.is_held:
            self._gained.clear()
            await self._gained.wait()

    async def keep(self) -> None:
        """Take the lease when it is free, and renew it, until cancelled.

        Raises:
            PermissionDenied: the account may not use the record.
        """
        was_held, problem = False, ""
        while True:
            try:
                await self._turn()
            except PermissionDenied:
                raise
            except TransportError as error:
                if str(error) != problem:
                    _log.warning("the lease on %s is not kept for now: %s", self._key, error)
                problem = str(error)
            else:
                problem = ""
            if self.is_held != was_held:
                was_held = not was_held
                _log.info("%s the lease on %s", "this instance has" if was_held else "lost", self._key)
            await asyncio.sleep(self._timing.turn.total_seconds())

    async def release(self) -> None:
        """Give the lease back, so that another instance need not wait. Safe to call when it is not held."""
        was_held, self._until = self.is_held, float("-inf")
        if not was_held or self._revision is None:
            return
        record = LeaseRecord.of(None, self._timing, now())
        try:
            await self._bucket.update(self._key, record.encode(), self._revision, timeout=_RELEASE)
        except TransportError as error:
            _log.debug("the lease on %s was not given back: %s", self._key, error)

    async def _turn(self) -> None:
        over = await self._find() if self._revision is None else self._revision
        if over is None:
            return
        asked = self._clock()
        record = LeaseRecord.of(self._me, self._timing, now())
        try:
            self._revision = await self._bucket.update(
                self._key, record.encode(), over, timeout=self._timing.turn
            )
        except WrongLastSequence:
            self._revision, self._until = None, float("-inf")
        except WriteUnknown:
            self._revision = None  # the next turn reads whether it was stored
        else:
            self._until = asked + self._timing.held_for.total_seconds()
            self._gained.set()

    async def _find(self) -> int | None:
        """Return the revision over which this instance may write itself; None while somebody else has the lease."""
        stored = await self._bucket.get(self._key, timeout=self._timing.turn)
        if stored is None:
            return 0
        record = LeaseRecord.parse(stored.value)
        at = self._clock()
        self._sighting = observe(self._sighting, revision=stored.revision, record=record, at=at)
        return stored.revision if may_take(self._sighting, me=self._me, at=at) else None
