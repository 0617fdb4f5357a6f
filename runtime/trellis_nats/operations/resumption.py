"""Goes on with the operations of processes that have ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import random
from time import monotonic

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.kv import KvRecord
from trellis_nats._nats.outages import through_outages
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.errors import (
    NoResponders,
    NotConnected,
    OperationCancelled,
    OperationNotFound,
    RequestTimeout,
    TransportError,
)
from trellis_nats.operations.execution import ExecutionLost
from trellis_nats.operations.lease import LEASES, PeerLeases
from trellis_nats.operations.model import changes
from trellis_nats.operations.model.record import OperationRecord
from trellis_nats.operations.open_operations import OpenOperation, OpenOperations
from trellis_nats.operations.store import OperationStore, Stored

__all__ = ["Resumption"]

_log = logging.getLogger(__name__)

_SPREAD = 0.05
"""Seconds over which the processes of a service spread their attempts to take one operation."""


class Resumption:
    """Finds operations that no process runs, and takes them over.

    Of several processes, one wins: taking is a write at the revision that was read.
    """

    def __init__(
        self,
        connection: Connection,
        store: OperationStore,
        interval: timedelta,
        *,
        get_lease: Callable[[], str | None],
        is_wanted: Callable[[OpenOperation], bool],
        resume: Callable[[Stored], Awaitable[None]],
    ) -> None:
        """Prepare.

        Args:
            connection: the connection of the service.
            store: the stored operations.
            interval: the pause between two looks.
            get_lease: returns the lease of this process; None while it has none.
            is_wanted: whether this process can run an operation, and does not run it already.
            resume: goes on with an operation that was taken over.
        """
        self.peers = PeerLeases(store.bucket)
        self._connection = connection
        self._store = store
        self._interval = interval
        self._get_lease = get_lease
        self._is_wanted = is_wanted
        self._resume = resume
        self._open = OpenOperations()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._remove_callback: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin. Every change of the bucket from now on must be passed to `receive`."""
        self._remove_callback = self._connection.on_reconnect(self.peers.forget_times)
        self._task = asyncio.create_task(self._run(), name="resume operations")

    async def stop(self) -> None:
        """Take over no more operations. Safe to call twice."""
        self._remove_callback()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    def receive(self, record: KvRecord, stored: Stored | None) -> None:
        """Take a change of the bucket."""
        if record.key.startswith(LEASES):
            self.peers.observe(record)
            if record.operation != "PUT":
                self._wake.set()
        elif stored is not None:
            found = self._open.take(stored)
            if found is not None and found.runner is None:
                self._wake.set()
        elif record.operation != "PUT":
            self._open.forget(record.key)

    async def _run(self) -> None:
        await through_outages(self._connection, self._scan, what="listing the open operations")
        while True:
            self._wake.clear()
            try:
                await self._look()
            except TransportError as error:
                _log.warning(
                    "the operations whose process may have ended could not be checked: %s",
                    error,
                    extra=log_fields(LogEvent.OPERATIONS_NOT_CHECKED),
                )
            try:
                async with asyncio.timeout(self._interval.total_seconds()):
                    await self._wake.wait()
                await asyncio.sleep(random() * _SPREAD)  # noqa: S311 - no secret
            except TimeoutError:
                continue

    async def _scan(self) -> None:
        """Read what was stored before this process followed the changes."""
        for key in await self._store.list_open():
            stored = await self._store.read(key)
            if stored is not None:
                self._open.take(stored)
        await self.peers.scan()

    async def _look(self) -> None:
        for found in self._open.list():
            lease = self._get_lease()
            if lease is None:
                return
            if self._is_wanted(found) and await self._is_abandoned(found, lease):
                await self._try_to_take(found, lease)
        lease = self._get_lease()
        if lease is not None:
            await self.peers.remove_expired(but={*self._open.runners, lease})

    async def _try_to_take(self, found: OpenOperation, lease: str) -> None:
        """Take an operation over. What keeps this process from it does not keep it from the others, but an outage."""
        try:
            await self._take(found, lease)
        except OperationNotFound:
            self._open.forget(found.id)
        except (OperationCancelled, ExecutionLost):
            pass  # it ended, or another process took it, in this moment
        except (RequestTimeout, NoResponders, NotConnected):
            raise
        except Exception:  # noqa: BLE001 - the others must be taken
            _log.exception(
                'operation "%s": %s could not be taken over; it is tried again',
                found.name,
                found.id,
                extra=log_fields(
                    LogEvent.OPERATIONS_NOT_CHECKED, operation=found.name, operation_id=found.id
                ),
            )

    async def _is_abandoned(self, found: OpenOperation, lease: str) -> bool:
        """Return whether no process runs an operation."""
        if found.runner is None:
            return True
        if found.runner == lease:  # it may have been accepted in this moment
            return monotonic() - found.seen_at >= self._interval.total_seconds()
        return await self.peers.is_dead(found.runner)

    async def _take(self, found: OpenOperation, lease: str) -> None:
        is_taken = False

        def decide(record: OperationRecord) -> OperationRecord | None:
            nonlocal is_taken
            is_taken = not record.has_ended and record.runner == lease
            if is_taken or record.has_ended or record.runner != found.runner:
                return None
            is_taken = True
            return changes.assign(record, lease)

        stored = await self._store.change(found.id, decide)
        self._open.take(stored)
        if is_taken and stored.record.runner == lease:
            _log.info(
                'operation "%s": this process goes on with %s, whose process ended',
                found.name,
                found.id,
                extra=log_fields(LogEvent.OPERATION_RESUMED, operation=found.name, operation_id=found.id),
            )
            await self._resume(stored)
