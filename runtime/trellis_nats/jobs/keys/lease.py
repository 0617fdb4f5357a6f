"""The lease of a slot: renewed from the heartbeat thread while the job runs, and released once."""

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
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import Clock, later, now, parse_timestamp, timestamp
from trellis_nats.errors import TransportError
from trellis_nats.jobs.keys.key_store import KeyStore, KeyStores
from trellis_nats.jobs.keys.model import event_fields, slots
from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry, Slot
from trellis_nats.jobs.keys.model.template import JobKey

__all__ = ["JobLease", "SlotLease"]

_log = logging.getLogger(__name__)

_RETRY_PAUSE: Final = 0.2
"""Seconds before a renewal or a release that failed is repeated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobLease:
    """The lease that an active job has on a slot of its concurrency key."""

    key: str
    """The readable form of the key."""
    token: str
    """Identifies this lease. Pass it to a system that can refuse writes with an older token."""
    expires_at: datetime
    """When the lease ends unless it is renewed, as of the last renewal, by this machine's clock."""


class SlotLease:
    """The lease of one slot of this process.

    It counts as lost before another process may take the slot, by this machine's monotonic clock.
    """

    def __init__(
        self,
        stores: KeyStores,
        key: JobKey,
        slot: Slot,
        policy: KeyPolicy,
        *,
        takeovers: int,
        requested_at: float,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
    ) -> None:
        self.key = key
        self.slot = slot
        """The slot as it was acquired."""
        self._takeovers = takeovers
        self._stores = stores
        self._policy = policy
        self._until = 0.0
        self._expires_at = parse_timestamp(slot.expires_at)
        self._extend(requested_at, self._expires_at)
        self._loop = loop
        self._clock = clock
        self._is_lost = False
        self._is_released = False
        """Whether the release has begun: a renewal that does not find the slot after that is not a loss."""
        self._on_lost: Callable[[], None] | None = None
        self._stop_renewing: Callable[[], None] | None = None
        self._expiry_check: asyncio.TimerHandle | None = None

    @property
    def job_lease(self) -> JobLease:
        """The lease as the handler sees it, as of the last renewal."""
        return JobLease(key=self.key.display, token=self.slot.token, expires_at=self._expires_at)

    @property
    def event_fields(self) -> dict[str, JsonValue]:
        """The fields of lifecycle events that describe the lease."""
        return event_fields.started_fields(self.key, self.slot, self._takeovers)

    def start_renewing(self, thread: ProgressThread) -> None:
        """Renew the lease every interval from the heartbeat thread, even while the event loop is blocked."""
        self._stop_renewing = thread.repeat(self._renew_in_thread, self._policy.interval).release

    async def confirm(self) -> bool:
        """Return whether the slot is held for long enough that an attempt may begin.

        An answer that a slow process reads late leaves little of the lease. It is renewed then, which also shows whether
        another job has taken the slot meanwhile. On a machine that keeps up, nothing is sent.

        Raises:
            TransportError: NATS did not answer or refused the write.
        """
        if monotonic() >= self._until - self._policy.lease.total_seconds() / 2:
            await self.renew()
        return not self._is_lost and monotonic() < self._valid_until

    def watch(self, on_lost: Callable[[], None]) -> None:
        """Call `on_lost` in the event loop when the slot is lost; at once if it is lost already.

        It is lost to another job, to an operator, or because NATS did not answer for too long.
        """
        self._on_lost = on_lost
        if not self._is_lost and monotonic() >= self._valid_until:
            self._mark_lost("its lease expired before its attempt began")
        if self._is_lost:
            on_lost()
        else:
            self._schedule_expiry_check()

    def _schedule_expiry_check(self) -> None:
        """Check at the end of the lease, even if the heartbeat thread is stuck."""
        delay = max(0.0, self._valid_until - monotonic())
        self._expiry_check = self._loop.call_later(delay, self._check_expiry)

    def _check_expiry(self) -> None:
        if self._is_lost:
            return
        if monotonic() >= self._valid_until:
            self._mark_lost("its lease expired without a renewal")
        else:
            self._schedule_expiry_check()

    async def renew(self) -> None:
        """Renew the lease now.

        Raises:
            TransportError: NATS did not answer or refused the write.
        """
        await self._renew(self._stores.main)

    async def release(self, *, retry_after: timedelta | None = None, began: bool = True) -> bool:
        """Release the slot, repeating the write until NATS takes it or the lease has expired.

        Harmless when the slot is lost.

        Args:
            retry_after: the job is retried after this time, and waits at the head of its key's queue until then.
            began: False if the attempt never began: the job then returns to the head of the queue.

        Returns:
            False when NATS did not take the write before the lease expired.
        """
        self._is_released = True
        self._end_checks()
        while True:
            waiting = None if began and retry_after is None else self._make_entry(retry_after)
            try:
                await self._stores.main.change(self.key, partial(self._release_in, waiting))
            except TransportError as error:
                _log.warning(
                    'key "%s": the slot of job %s could not be released yet: %s',
                    self.key.display,
                    self.slot.job_id,
                    error,
                    extra=self._log_fields(LogEvent.SLOT_NOT_RELEASED),
                )
                if monotonic() >= self._until:
                    return False
                await asyncio.sleep(_RETRY_PAUSE)
            else:
                return True

    def _end_checks(self) -> None:
        """End the renewals and the check of the expiry, and drop what refers back to this lease.

        Such cycles would leave every job of the queue to the garbage collector.
        """
        stop_renewing, self._stop_renewing = self._stop_renewing, None
        if stop_renewing is not None:
            stop_renewing()
        if self._expiry_check is not None:
            self._expiry_check.cancel()
            self._expiry_check = None
        self._on_lost = None

    def _release_in(self, waiting: QueueEntry | None, record: KeyRecord) -> tuple[KeyRecord, None]:
        return slots.release(record, self.slot.token, waiting=waiting) or record, None

    def _make_entry(self, retry_after: timedelta | None) -> QueueEntry:
        context = self.slot.context
        request_id = context.get("requestId") if isinstance(context, dict) else None
        return QueueEntry(
            job_id=self.slot.job_id,
            created_at=timestamp(now()),
            request_id=request_id if isinstance(request_id, str) else "",
            context=context,
            retry_at=None if retry_after is None else timestamp(later(self._clock.now(), retry_after)),
        )

    @property
    def _valid_until(self) -> float:
        """Until when the slot counts as held, by the monotonic clock: its owner stops before another job may start."""
        return self._until - self._policy.margin.total_seconds()

    # --- in the heartbeat thread -----------------------------------------------------------------------------------

    async def _renew_in_thread(self, connection: Connection) -> None:
        store = self._stores.get_for_thread(connection)
        while not self._is_lost:
            left = self._valid_until - monotonic()
            if self._on_lost is None:
                left = self._policy.lease.total_seconds()  # nothing runs yet: a renewal in any time is good
            elif left <= 0:
                self._mark_lost("its lease expired before it was renewed")
                return
            try:
                async with asyncio.timeout(left):
                    await self._renew(store)
            except TimeoutError:
                continue
            except TransportError as error:
                _log.warning(
                    'key "%s": the lease of job %s could not be renewed yet: %s',
                    self.key.display,
                    self.slot.job_id,
                    error,
                    extra=self._log_fields(LogEvent.LEASE_NOT_RENEWED),
                )
                await asyncio.sleep(_RETRY_PAUSE)
            else:
                return

    async def _renew(self, store: KeyStore) -> None:
        requested_at, at = monotonic(), now()

        def renew(record: KeyRecord) -> tuple[KeyRecord, bool]:
            renewed = slots.renew(record, self.slot.token, lease=self._policy.lease, at=at)
            return (record, False) if renewed is None else (renewed, True)

        if await store.change(self.key, renew):
            self._extend(requested_at, at + self._policy.lease)
        else:
            self._mark_lost("another job took it over, or an operator removed it")

    def _extend(self, requested_at: float, expires_at: datetime) -> None:
        self._until, self._expires_at = requested_at + self._policy.lease.total_seconds(), expires_at

    def _mark_lost(self, reason: str) -> None:
        if self._is_lost or self._is_released:
            return
        self._is_lost = True
        _log.warning(
            'key "%s": job %s lost its slot: %s',
            self.key.display,
            self.slot.job_id,
            reason,
            extra=self._log_fields(LogEvent.SLOT_LOST),
        )
        # The event loop may release the lease in this very moment.
        stop_renewing, on_lost = self._stop_renewing, self._on_lost
        if stop_renewing is not None:
            stop_renewing()
        if on_lost is not None:
            self._loop.call_soon_threadsafe(on_lost)

    def _log_fields(self, event: LogEvent) -> dict[str, object]:
        return log_fields(
            event,
            queue=self._stores.main.queue,
            job_id=self.slot.job_id,
            key=self.key.display,
            attempt=self.slot.tries,
        )
