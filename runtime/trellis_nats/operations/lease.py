"""The lease under which a process runs operations, and what it knows of the leases of others.

Each process has one record, which it renews. Clocks of machines are never compared: a lease has expired when an observer
has not seen a renewal for as long as the record says, by the observer's monotonic clock (faults.md, R13). The holder counts
from before it sent the renewal, so it stops first. To take over what an expired lease stands for, an observer deletes the
record at the revision that it has observed: a renewal that was faster makes that fail, and a holder whose record is gone
knows that it has lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.kv import KvBucket, KvRecord
from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import now, timestamp, to_milliseconds
from trellis_nats.codec import decode_json, encode_json
from trellis_nats.errors import TransportError, WrongLastSequence
from trellis_nats.ids import new_id

__all__ = ["LEASES", "LeaseTiming", "PeerLeases", "RunnerLease"]

_log = logging.getLogger(__name__)

LEASES: Final = "instances."
"""The prefix of the keys of leases; the key of an operation has no dot."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """The intervals that follow from how soon an operation goes on after its process died (`Maintenance.lease`)."""

    length: timedelta

    @property
    def interval(self) -> timedelta:
        """How often a lease is renewed and the others are checked: a sixth of the length."""
        return self.length / 6

    @property
    def held_for(self) -> timedelta:
        """How long a renewal lasts: four intervals. Three renewals may fail."""
        return self.interval * 4


class RunnerLease:
    """The lease of this process, renewed from a thread, even while the event loop is blocked."""

    def __init__(
        self,
        connection: Connection,
        bucket: str,
        timing: LeaseTiming,
        *,
        purges: bool,
        on_lost: Callable[[], None],
    ) -> None:
        self.id = new_id()
        """What the records of operations name."""
        self.purges = purges
        """Whether this process can purge ended operations: of those that can, the one with the oldest lease does."""
        self._key = f"{LEASES}{self.id}"
        self._connection = connection
        self._bucket = bucket
        self._timing = timing
        self._on_lost = on_lost
        self._thread = ProgressThread(connection.settings)
        self._revision = 0
        self._until = float("-inf")
        self._is_lost = False
        self._problem = ""

    @property
    def is_held(self) -> bool:
        """Whether no other process can have taken the lease yet."""
        return not self._is_lost and monotonic() < self._until - self._timing.interval.total_seconds()

    async def start(self) -> None:
        """Take the lease, and begin to renew it. Raises as `KvBucket.put` and `ProgressThread.start`."""
        requested_at = monotonic()
        self._revision = await KvBucket(self._connection, self._bucket).put(
            self._key, self._value(), expected_revision=0
        )
        self._extend(requested_at)
        await self._thread.start()
        self._thread.repeat(self._renew, self._timing.interval)

    async def stop(self) -> None:
        """Give the lease back, so that other processes go on at once. Safe to call twice."""
        await self._thread.stop()
        if self._is_lost:
            return
        self._is_lost = True
        try:
            bucket = KvBucket(self._connection, self._bucket, timeout=self._timing.interval)
            await bucket.purge(self._key, expected_revision=self._revision)
        except TransportError as error:
            self._log(logging.DEBUG, LogEvent.OPERATION_LEASE_NOT_RENEWED, "was not given back", error)

    async def _renew(self, connection: Connection) -> None:
        """Renew the lease: runs in the thread."""
        if self._is_lost:
            return
        bucket = KvBucket(connection, self._bucket, timeout=self._timing.interval)
        requested_at = monotonic()
        try:
            ack = await bucket.update(self._key, self._value(), self._revision)
        except WrongLastSequence:
            await self._look_up(bucket)
        except TransportError as error:
            if str(error) != self._problem:
                self._log(
                    logging.WARNING, LogEvent.OPERATION_LEASE_NOT_RENEWED, "could not be renewed yet", error
                )
            self._problem = str(error)
        else:
            self._revision = ack.sequence
            self._extend(requested_at)
            self._problem = ""

    async def _look_up(self, bucket: KvBucket) -> None:
        """Find out whether an earlier renewal was stored without an answer, or another process took the lease."""
        try:
            stored = await bucket.get(self._key, leader=True)
        except TransportError:
            return  # the next renewal finds out
        if stored is not None and stored.operation == "PUT":
            self._revision = stored.revision
            return
        self._is_lost = True
        self._connection.loop.call_soon_threadsafe(self._on_lost)

    def _extend(self, requested_at: float) -> None:
        self._until = requested_at + self._timing.held_for.total_seconds()

    def _value(self) -> bytes:
        held_for_ms = to_milliseconds(self._timing.held_for)
        return encode_json({"heldForMs": held_for_ms, "renewedAt": timestamp(now()), "purges": self.purges})

    def _log(self, level: int, event: LogEvent, what: str, error: Exception) -> None:
        _log.log(
            level,
            'the lease of this process on the operations in bucket "%s" %s: %s',
            self._bucket,
            what,
            error,
            extra=log_fields(event),
        )


@dataclass(slots=True)
class _Peer:
    revision: int
    held_for: float
    since: float
    """When the revision was seen first, by this process' monotonic clock."""
    purges: bool

    @property
    def is_alive(self) -> bool:
        return monotonic() - self.since < self.held_for


class PeerLeases:
    """The leases of all processes, as this one has seen them."""

    def __init__(self, bucket: KvBucket) -> None:
        self._bucket = bucket
        self._peers: dict[str, _Peer] = {}

    def observe(self, record: KvRecord) -> None:
        """Take the record of a lease as it is stored now."""
        lease_id = record.key.removeprefix(LEASES)
        peer = _read_peer(record)
        known = self._peers.get(lease_id)
        if peer is None:
            self._peers.pop(lease_id, None)
        elif known is None or record.revision > known.revision:
            self._peers[lease_id] = peer

    def purges(self, lease_id: str) -> bool:
        """Return whether a lease is the oldest one whose process can purge. Two may think so for a moment: no harm."""
        peers = self._peers.items()
        return lease_id == min((key for key, peer in peers if peer.purges and peer.is_alive), default=None)

    async def scan(self) -> None:
        """Read the leases that were taken before this process received changes. Raises as `KvBucket.keys`."""
        for key in await self._bucket.keys(f"{LEASES}*"):
            stored = await self._bucket.get(key, leader=True)
            if stored is not None:
                self.observe(stored)

    async def remove_expired(self, *, but: Container[str]) -> None:
        """Remove the leases of processes that died, but those of some. Raises as `is_dead`."""
        for lease_id in [each for each in self._peers if each not in but]:
            await self.is_dead(lease_id)

    def forget_times(self) -> None:
        """Begin to count again: during an outage, renewals may have gone unseen."""
        for peer in self._peers.values():
            peer.since = monotonic()

    async def is_dead(self, lease_id: str) -> bool:
        """Return whether a process no longer runs operations; an expired lease is deleted, so that it stays so.

        Raises:
            TransportError: NATS did not answer.
        """
        key = f"{LEASES}{lease_id}"
        peer = self._peers.get(lease_id)
        if peer is None:
            stored = await self._bucket.get(key, leader=True)
            if stored is None or _read_peer(stored) is None:
                return True
            self.observe(stored)
            return False
        if peer.is_alive:
            return False
        try:
            await self._bucket.purge(key, expected_revision=peer.revision)
        except WrongLastSequence:
            self._peers.pop(lease_id, None)  # renewed, or deleted by another process: the next look tells
            return False
        self._peers.pop(lease_id, None)
        return True


def _read_peer(record: KvRecord) -> _Peer | None:
    """Read a lease. None: it was given back or taken."""
    if record.operation != "PUT":
        return None
    held_for, purges = 0.0, False
    try:
        match decode_json(record.value):
            case {"heldForMs": int(milliseconds), **rest}:
                held_for, purges = milliseconds / 1000, rest.get("purges") is True
            case _:
                pass
    except ValueError:
        pass
    return _Peer(record.revision, held_for, monotonic(), purges)
