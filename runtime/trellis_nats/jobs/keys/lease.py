"""A slot in hand: renewed from the heartbeat thread while its job runs, and given back once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Final

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats.clock import now, parse_timestamp, timestamp
from trellis_nats.errors import TransportError
from trellis_nats.jobs.keys.key_store import KeyStore, KeyStores
from trellis_nats.jobs.keys.model import event_fields, slots
from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry, Slot
from trellis_nats.jobs.keys.model.template import JobKey

__all__ = ["JobLease", "SlotLease"]

_log = logging.getLogger(__name__)

_AGAIN: Final = 0.2
"""Seconds between renewals that NATS did not take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobLease:
    """The hold that an active job has on its concurrency key."""

    key: str
    """The display key."""
    token: str
    """Tells this hold from every other one: give it to a system that can refuse the writes of an older one."""
    expires_at: datetime
    """When it ends unless it is renewed, as it stood at the last renewal, by this machine's clock."""


class SlotLease:
    """One slot of this process. It counts as lost before others may take it, by this machine's own monotonic clock."""

    def __init__(
        self,
        stores: KeyStores,
        key: JobKey,
        slot: Slot,
        policy: KeyPolicy,
        *,
        takeovers: int,
        asked_at: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.key = key
        self.slot = slot
        """As it was taken."""
        self._takeovers = takeovers
        self._stores = stores
        self._policy = policy
        self._until = 0.0
        self._expires_at = parse_timestamp(slot.expires_at)
        self._renewed(asked_at, self._expires_at)
        self._loop = loop
        self._is_lost = False
        self._is_given_back = False
        """Whether it is being given back: a renewal under way finds nothing, and that is no loss."""
        self._on_lost: Callable[[], None] | None = None
        self._stop_renewing: Callable[[], None] | None = None
        self._clock: asyncio.TimerHandle | None = None

    @property
    def lease(self) -> JobLease:
        """How it stands now."""
        return JobLease(key=self.key.display, token=self.slot.token, expires_at=self._expires_at)

    @property
    def facts(self) -> dict[str, JsonValue]:
        """What lifecycle events say of it."""
        return event_fields.held(self.key, self.slot, self._takeovers)

    def keep(self, thread: ProgressThread) -> None:
        """Renew it every interval from the heartbeat thread, also while the event loop is blocked."""
        self._stop_renewing = thread.repeat(self._beat, self._policy.interval).release

    def watch(self, on_lost: Callable[[], None]) -> None:
        """Have `on_lost` called in the event loop when the slot is lost; now, if it is.

        It is lost to another job, to an operator, or because NATS was away for too long.
        """
        self._on_lost = on_lost
        if not self._is_lost and monotonic() >= self._valid_until:
            self._lose("its lease ran out before its try began")
        if self._is_lost:
            on_lost()
        else:
            self._look_later()

    def _look_later(self) -> None:
        """Look at the end of the lease, whatever became of the heartbeat thread."""
        self._clock = self._loop.call_later(max(0.0, self._valid_until - monotonic()), self._look)

    def _look(self) -> None:
        if self._is_lost:
            return
        if monotonic() >= self._valid_until:
            self._lose("its lease ran out unrenewed")
        else:
            self._look_later()

    async def renew(self) -> None:
        """Renew it now.

        Raises:
            TransportError: NATS did not take it.
        """
        await self._renew(self._stores.main)

    async def give_back(self, *, retry_after: timedelta | None = None, began: bool = True) -> bool:
        """Give it back; a job that will be tried again waits at the head of its key's queue until it is due.

        So does one whose try never `began`: it has its place again. Returns False when NATS did not take it until the
        lease was over.

        Tried until NATS takes it or the lease is over by itself. Harmless when the slot is lost.
        """
        self._is_given_back = True
        if self._stop_renewing is not None:
            self._stop_renewing()
        if self._clock is not None:
            self._clock.cancel()
        while True:
            waiting = None if began and retry_after is None else self._waiting(retry_after)
            try:
                await self._stores.main.change(self.key, partial(self._released, waiting))
            except TransportError as error:
                _log.warning('key "%s": a slot is not given back yet: %s', self.key.display, error)
                if monotonic() >= self._until:
                    return False
                await asyncio.sleep(_AGAIN)
            else:
                return True

    def _released(self, waiting: QueueEntry | None, record: KeyRecord) -> tuple[KeyRecord, None]:
        return slots.release(record, self.slot.token, waiting=waiting) or record, None

    def _waiting(self, retry_after: timedelta | None) -> QueueEntry:
        context = self.slot.context
        request_id = context.get("requestId") if isinstance(context, dict) else None
        return QueueEntry(
            job_id=self.slot.job_id,
            created_at=timestamp(now()),
            request_id=request_id if isinstance(request_id, str) else "",
            context=context,
            retry_at=None if retry_after is None else timestamp(now() + retry_after),
        )

    @property
    def _valid_until(self) -> float:
        """Until when it counts as held, by the monotonic clock: its owner leaves before others may come."""
        return self._until - self._policy.margin.total_seconds()

    # --- in the heartbeat thread -----------------------------------------------------------------------------------

    async def _beat(self, connection: Connection) -> None:
        store = self._stores.run_in_thread(connection)
        while not self._is_lost:
            if monotonic() >= self._valid_until:
                self._lose("its lease ran out while NATS was away")
                return
            try:
                async with asyncio.timeout(max(0.0, self._valid_until - monotonic())):
                    await self._renew(store)
            except TimeoutError:
                continue
            except TransportError as error:
                _log.warning('key "%s": a slot is not renewed yet: %s', self.key.display, error)
                await asyncio.sleep(_AGAIN)
            else:
                return

    async def _renew(self, store: KeyStore) -> None:
        asked_at, at = monotonic(), now()

        def longer(record: KeyRecord) -> tuple[KeyRecord, bool]:
            renewed = slots.renew(record, self.slot.token, lease=self._policy.lease, at=at)
            return (record, False) if renewed is None else (renewed, True)

        if await store.change(self.key, longer):
            self._renewed(asked_at, at + self._policy.lease)
        else:
            self._lose("it was taken over, or taken away")

    def _renewed(self, asked_at: float, expires_at: datetime) -> None:
        self._until, self._expires_at = asked_at + self._policy.lease.total_seconds(), expires_at

    def _lose(self, why: str) -> None:
        if self._is_lost or self._is_given_back:
            return
        self._is_lost = True
        _log.warning('key "%s": job %s lost its slot: %s', self.key.display, self.slot.job_id, why)
        if self._stop_renewing is not None:
            self._stop_renewing()
        if self._on_lost is not None:
            self._loop.call_soon_threadsafe(self._on_lost)
