"""Creates the jobs of a keyed queue: first the place in the record, then the event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Final

from pydantic import JsonValue

from trellis_nats._nats.jetstream.batch import BATCH_MAX
from trellis_nats.clock import now
from trellis_nats.errors import JobNotEnqueued, MalformedJobEvent, TransportError, WriteUnknown
from trellis_nats.jobs.keys.model import event_fields
from trellis_nats.jobs.keys.model.admission import Admitted, Displaced, Full, Joined
from trellis_nats.jobs.keys.model.record import QueueEntry
from trellis_nats.jobs.keys.model.template import JobKey, resolve
from trellis_nats.jobs.keys.orphans import RESERVATION_GRACE
from trellis_nats.jobs.keys.reservations import STORED_SOON, Reservations
from trellis_nats.jobs.model.event import NewEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.event_log import EventLog, WriteConflict

__all__ = ["Created", "KeyedCreation", "Known", "refused"]

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 64
_STORED_WITHIN: Final = RESERVATION_GRACE / 2
"""How long a displaced job may take to be stored. The place of the one that displaced it is reserved meanwhile."""
_UNDO: Final = timedelta(seconds=5)
"""How long a failed creation tries to give its place back. After that, the place is given up by whoever needs it."""


@dataclass(frozen=True, slots=True)
class Created:
    """The job is stored."""

    key: str
    replaced: str | None = None
    """The job that it displaced."""


@dataclass(frozen=True, slots=True)
class Known:
    """The job of the idempotency key is stored since before; nothing was changed."""

    key: str


class _Placed:
    """The `created` event of a job that has a place, as it is stored: its size is known before, but for whom it displaces."""

    __slots__ = ("_data", "event", "key", "replaced")

    def __init__(self, event: NewEvent, key: JobKey, *, replaced: str | None = None) -> None:
        self.event = event
        self.key = key
        self.replaced = replaced
        """The job that it displaced."""
        self._data = event_fields.stated(event, event_fields.admitted(key, replaced=replaced)).encode()

    @property
    def job_id(self) -> str:
        return self.event.job_id

    @property
    def event_type(self) -> str:
        return self.event.event_type

    def encode(self) -> bytes:
        return self._data

    def header_lines(self) -> bytes:
        return self.event.headers


class KeyedCreation:
    """Stores jobs whose key has room for them."""

    def __init__(self, reservations: Reservations, event_log: EventLog, *, queue: str) -> None:
        self._reservations = reservations
        self._event_log = event_log
        self._what = f'the payload of job "{queue}"'

    def key_of(self, payload: JsonValue) -> JobKey:
        """Return the key of a job.

        Raises:
            InvalidPayload: the payload has none.
        """
        return resolve(self._reservations.policy.template, payload, what=self._what)

    async def create(
        self, event: NewEvent, *, strict: bool, idempotent: bool
    ) -> tuple[JobKey, Created | Known | Joined | Full]:
        """Store a job, or say why not. With `strict`, nobody is joined or displaced.

        Raises:
            InvalidPayload: the payload has no key; nothing was sent.
            Overtaken: a job with this id exists, and it is not `idempotent`.
            WriteUnknown: no answer came; the job may have been stored.
            TransportError: NATS did not take it; its place was given back as far as that was possible.
        """
        key = self.key_of(event.body["payload"])
        if idempotent and await self._exists(event.job_id):
            return key, Known(key.display)
        accepted = _Placed(event, key)
        self._event_log.check_size(accepted)
        verdict = await self._reservations.admit(key, event, strict=strict)
        match verdict:
            case Full() | Joined():
                return key, verdict
            case Admitted():
                return key, await self._store(accepted, idempotent=idempotent)
            case Displaced(replaced):
                if not await self._skip(key, replaced, event.job_id):
                    return key, await self._store(accepted, idempotent=idempotent)
                placed = _Placed(event, key, replaced=replaced.job_id)
                return key, await self._store(placed, idempotent=idempotent)

    async def create_many(self, events: Sequence[NewEvent]) -> None:
        """Store jobs, all of a thousand or none: every one of them gets its place before the first is stored.

        Raises:
            JobNotEnqueued: a key has no room; nothing of its thousand was stored.
            InvalidPayload: a payload has no key; nothing was sent.
            PayloadTooLarge: the server would not take one of them; nothing was sent.
            WriteUnknown: no answer came; the thousand may have been stored.
            TransportError: NATS did not take them.
        """
        wanted = [_Placed(event, self.key_of(event.body["payload"])) for event in events]
        for each in wanted:
            self._event_log.check_size(each)
        for start in range(0, len(wanted), BATCH_MAX):
            await self._create_thousand(wanted[start : start + BATCH_MAX])

    async def _create_thousand(self, wanted: Sequence[_Placed]) -> None:
        turns = asyncio.Semaphore(_AT_ONCE)

        async def admitted(each: _Placed) -> None:
            async with turns:
                verdict = await self._reservations.admit(each.key, each.event, strict=True)
            if isinstance(verdict, Full):
                raise refused(each.key, verdict)

        said = await asyncio.gather(*map(admitted, wanted), return_exceptions=True)
        problem = next((each for each in said if each is not None), None)
        placed = [each for each, answer in zip(wanted, said, strict=True) if answer is None]
        if problem is not None:
            await self._undo_all(placed)
            raise problem
        try:
            await self._event_log.create_many(wanted)
        except WriteUnknown:
            raise  # they may be stored; the places of those that are not are given up by whoever needs them
        except TransportError:
            await self._undo_all(placed)
            raise

    async def _undo_all(self, placed: Sequence[_Placed]) -> None:
        """Give the places of those back that were not stored, as far as that is possible in a few seconds."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def undone(each: _Placed) -> None:
            async with turns:
                if not await self._exists(each.job_id):
                    await self._reservations.withdraw(each.key, each.job_id)

        async def all_undone() -> None:
            await asyncio.gather(*map(undone, placed))

        if placed:
            await _attempt(placed[0].key, all_undone())

    async def _store(self, placed: _Placed, *, idempotent: bool) -> Created | Known:
        key = placed.key
        try:
            await self._event_log.create(placed)
        except WriteConflict as overtaken:
            newest = overtaken.newest
            if newest is None or newest.event.is_terminal:
                await self._undo(key, placed.job_id)
            if not idempotent:
                raise
            return Known(key.display)
        except WriteUnknown:
            raise  # it may be stored; else its place is given up by whoever needs it
        except TransportError:
            if not idempotent:  # else somebody else may have stored it meanwhile, and needs the place
                await self._undo(key, placed.job_id)
            raise
        return Created(key.display, placed.replaced)

    async def _skip(self, key: JobKey, replaced: QueueEntry, by: str) -> bool:
        """End a displaced job. Return False when it no longer waited: then nobody was displaced.

        Raises:
            TransportError: NATS did not take it; the displaced job has its place back, as far as that was possible.
        """
        try:
            until = monotonic() + _STORED_WITHIN.total_seconds()
            newest = await self._event_log.newest(replaced.job_id)
            while newest is None and monotonic() < until:
                await asyncio.sleep(STORED_SOON)  # its place was reserved, and it is being stored
                newest = await self._event_log.newest(replaced.job_id)
            while newest is not None:
                skipped = event_fields.skipped(newest.event, by, now())
                if skipped is None:
                    return newest.event.event_type == EventType.SKIPPED
                try:
                    await self._event_log.append(skipped, after=newest.sequence)
                except WriteConflict as overtaken:
                    newest = overtaken.newest
                else:
                    return True
        except MalformedJobEvent as error:
            _log.warning('key "%s": a job that was displaced is not skipped: %s', key.display, error)
        except TransportError:
            await _attempt(key, self._reservations.restore(key, replaced, by=by))
            raise
        return False

    async def _exists(self, job_id: str) -> bool:
        return await self._event_log.newest_of(job_id, EventType.CREATED) is not None

    async def _undo(self, key: JobKey, job_id: str) -> None:
        await _attempt(key, self._reservations.withdraw(key, job_id))


async def _attempt(key: JobKey, undoing: Awaitable[None]) -> None:
    """Give a place back, if NATS is there: else whoever needs it finds that it is held for nobody."""
    try:
        async with asyncio.timeout(_UNDO.total_seconds()):
            await undoing
    except (TransportError, TimeoutError) as error:
        _log.warning('key "%s": a place could not be given back yet: %s', key.display, error)


def refused(key: JobKey, full: Full) -> JobNotEnqueued:
    """Say that a key has no room."""
    return JobNotEnqueued(
        full.reason,
        key.display,
        active=full.active,
        queued=full.queued,
        limit=full.limit,
        existing_job_id=full.existing,
    )
