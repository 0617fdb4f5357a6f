"""Runs a bulk action: selects jobs, acts on each once, counts, waits, stops. A process that dies is replaced by another one.

What is left of a bulk action is what its selection still returns: a job that was acted upon has changed its state, so it is not
selected again. Each write is fenced by the event that was seen, so that of two writers one wins. The counts come from the
events themselves: what a process wrote and did not count before it died is counted from the stream.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeVar

from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats.clock import now
from trellis_nats.errors import KeyContended, NotConnected, RequestTimeout, TransportError, WriteUnknown

from trellis_admin.bulk import changes
from trellis_admin.bulk.changes import Handled
from trellis_admin.bulk.record import BulkRecord, BulkState, Outcomes

__all__ = ["Acted", "BulkRunner", "BulkWorld", "Fate", "Records", "Selected"]

_CHUNK_SECONDS: Final = 0.5
"""How much is sent between two looks at the record: a command counts within that time."""
_CHUNK_MAX: Final = 256
_SLICE: Final = 1.0
"""Seconds after which a slow bulk action looks at its record while it waits for its rate."""
_CATCH_UP: Final = 1.0
"""Seconds that a step which took too long is made up for by the next ones."""
_PAUSE: Final = 0.5
"""Seconds before what NATS did not answer is repeated."""
T = TypeVar("T")
_TRANSIENT: Final = (WriteUnknown, RequestTimeout, NotConnected, KeyContended)


class Selected(NamedTuple):
    """A job of the selection."""

    prefix: str
    """Under which the events of its queue are published."""
    job_id: str
    state_sequence: int
    """The sequence of the event that made its state, as it was seen."""

    @property
    def name(self) -> str:
        """`<prefix>.<id>`."""
        return f"{self.prefix}.{self.job_id}"


class Fate(Enum):
    """What became of a selected job."""

    SENT = auto()
    REFUSED = auto()
    CHANGED = auto()
    """Another writer was first."""
    OURS = auto()
    """This bulk action had acted upon it before: an event of it is stored."""
    HALTED = auto()
    """NATS refused what would be refused for every other job too, or the lease was lost."""


class Acted(NamedTuple):
    """What became of a job, and the sequence of the event that says so."""

    fate: Fate
    sequence: int = 0
    reason: str = ""


class Records(Protocol):
    """Where records are."""

    async def read(self, bulk_id: str) -> BulkRecord:
        """Return a record."""
        ...

    async def change(self, bulk_id: str, reduce: Callable[[BulkRecord], BulkRecord]) -> BulkRecord:
        """Change a record under compare-and-set."""
        ...

    async def add_refusals(self, bulk_id: str, refusals: dict[str, str]) -> None:
        """Note why jobs were refused."""
        ...


class BulkWorld(Protocol):
    """What a runner needs of the stream and of its projection."""

    async def find_roll_back(self, record: BulkRecord) -> str | None:
        """Return why the selection means other jobs than it did; None if the stream is still the same."""
        ...

    async def select(self, record: BulkRecord, *, limit: int) -> Sequence[Selected]:
        """Return the next jobs of the selection after the record's cursor, by the projection as of now."""
        ...

    async def act(self, record: BulkRecord, job: Selected) -> Acted:
        """Act on a job as it was seen."""
        ...

    async def count_events(self, record: BulkRecord, *, after: int) -> tuple[int, int]:
        """Return how many events of the bulk action follow a sequence, and the sequence of the last of them."""
        ...

    async def count_outcomes(self, record: BulkRecord) -> Outcomes:
        """Return what has become of the jobs that were sent, by the projection as of now."""
        ...

    async def report_end(self, record: BulkRecord) -> None:
        """Store in the audit log how the action ended. It may be called twice."""
        ...


@dataclass(slots=True)
class BulkRunner:
    """One process that runs one bulk action while it holds its lease."""

    bulk_id: str
    me: str
    """The id of the process for this run."""
    records: Records
    world: BulkWorld
    is_held: Callable[[], bool]
    """Whether this process still holds the lease."""
    on_progress: Callable[[BulkRecord], None]
    _is_counted: bool = True
    """Whether the record counts every event that is stored, as far as this process knows."""
    _free_at: float = 0.0
    """When the next jobs may be sent, by the clock of the event loop."""

    async def run(self) -> BulkRecord:
        """Run until it is done, waits, is paused, stopped or aborted, or the lease is lost. Return its record then.

        Raises:
            BulkProblem: there is no such bulk action, or its record cannot be changed.
            TransportError: NATS refused what the runner needs in order to go on.
        """
        record = await self._change(self._take_over)
        self._is_counted = not record.restarts
        while record.runner == self.me and self.is_held():
            try:
                if not self._is_counted:
                    record = await self._recount(record)
                self.on_progress(record)
                if record.state is not BulkState.RUNNING:
                    return await self._leave(record)
                record = await self._step(record)
            except _TRANSIENT:
                await asyncio.sleep(_PAUSE)
                record = await self._until_answered(partial(self.records.read, self.bulk_id))
        if record.is_settled and not self._is_counted:
            total, _ = await self.world.count_events(record, after=record.at)
            record = await self._change(partial(changes.correct, total=total))
        return record

    def _take_over(self, record: BulkRecord) -> BulkRecord:
        # A process that was frozen here must not put itself before the one that has the lease now.
        return changes.take_over(record, self.me, now()) if self.is_held() else record

    async def _recount(self, record: BulkRecord) -> BulkRecord:
        """Count the events that were stored and not counted, by this process or by one that died."""
        found, last = await self.world.count_events(record, after=record.counted_to)
        counted_to = max(last, record.counted_to)
        counted = await self._change(
            partial(changes.recount, runner=self.me, found=found, counted_to=counted_to)
        )
        self._is_counted = True
        return counted

    async def _step(self, record: BulkRecord) -> BulkRecord:
        """Act on the next jobs."""
        if record.action.sends and record.sent:
            why = changes.dies_too_often(record, await self.world.count_outcomes(record))
            if why is not None:
                return await self._change(partial(changes.stop, runner=self.me, note=why))
        began = asyncio.get_running_loop().time()
        size = _chunk_size(record)
        selected = await self.world.select(record, limit=size + 1)
        # The stream may be restored from a backup at any time. What it has now is looked at after the selection: jobs that were
        # selected before a roll-back are acted upon only where they are as they were.
        other = await self.world.find_roll_back(record)
        if other is not None:
            return await self._change(partial(changes.stop, runner=self.me, note=other))
        chunk, is_last = selected[:size], len(selected) <= size
        self._is_counted = False
        acted = await bounded_gather(chunk, partial(self._act, record))
        refusals = {
            job.name: one.reason for job, one in zip(chunk, acted, strict=True) if one.fate is Fate.REFUSED
        }
        if refusals:
            await self._until_answered(partial(self.records.add_refusals, self.bulk_id, refusals))
        handled = _sum(record, chunk, acted, is_last=is_last)
        counted = await self._change(partial(changes.advance, runner=self.me, handled=handled, at=now()))
        self._is_counted = counted.runner == self.me and not _has_unknown(acted)
        halted = next((one.reason for one in acted if one.fate is Fate.HALTED and one.reason), None)
        if halted is not None and self.is_held():
            return await self._change(partial(changes.stop, runner=self.me, note=halted))
        if counted.state is BulkState.RUNNING:
            return await self._keep_rate(counted, began, len(chunk))
        return counted

    async def _act(self, record: BulkRecord, job: Selected) -> Acted:
        """Act on a job, until it is known what became of it: a write whose answer was lost is looked for."""
        while self.is_held():
            try:
                return await self.world.act(record, job)
            except _TRANSIENT:
                await asyncio.sleep(_PAUSE)
            except TransportError as error:
                return Acted(Fate.HALTED, reason=f"NATS refused: {error}")
        # Without a reason to stop: another process runs it now, or this one does again once the lease is renewed.
        return Acted(Fate.HALTED)

    async def _keep_rate(self, record: BulkRecord, began: float, done: int) -> BulkRecord:
        """Wait until the next jobs may be sent, or until the record has changed. Return the newest record."""
        loop = asyncio.get_running_loop()
        free_at = max(self._free_at or began, began - _CATCH_UP)
        self._free_at = free_at + (0 if record.rate is None else done / record.rate)
        newest = await self.records.read(self.bulk_id)
        while (wait := self._free_at - loop.time()) > 0 and self.is_held():
            if newest.state is not BulkState.RUNNING or newest.rate != record.rate:
                self._free_at = loop.time()
                break
            await asyncio.sleep(min(wait, _SLICE))
            newest = await self.records.read(self.bulk_id)
        return newest

    async def _leave(self, record: BulkRecord) -> BulkRecord:
        """Release the record; after the end of the action, with its final counts, which are reported first."""
        total: int | None = None
        if record.is_final and record.restarts:
            total, _ = await self.world.count_events(record, after=record.at)
        leave = partial(changes.leave, runner=self.me, total=total)
        if record.is_final:
            await self.world.report_end(leave(record))
        left = await self._change(leave)
        self.on_progress(left)
        return left

    async def _change(self, reduce: Callable[[BulkRecord], BulkRecord]) -> BulkRecord:
        return await self._until_answered(partial(self.records.change, self.bulk_id, reduce))

    async def _until_answered(self, write: Callable[[], Awaitable[T]]) -> T:
        """Repeat a write that may be repeated, until NATS answers or the lease is lost."""
        while True:
            try:
                return await write()
            except _TRANSIENT:
                if not self.is_held():
                    raise
                await asyncio.sleep(_PAUSE)


def _chunk_size(record: BulkRecord) -> int:
    size = _CHUNK_MAX if record.rate is None else math.ceil(record.rate * _CHUNK_SECONDS)
    size = max(1, min(size, _CHUNK_MAX))
    return size if record.limit is None else max(1, min(size, record.limit - record.sent))


def _sum(record: BulkRecord, chunk: Sequence[Selected], acted: Sequence[Acted], *, is_last: bool) -> Handled:
    # An event of ours that was counted already has a sequence up to `counted_to`. Where the fate of a job is not known, all of
    # them are counted from the stream: its event may be stored, before others.
    sent = [
        one
        for one in acted
        if one.fate is Fate.SENT or (one.fate is Fate.OURS and one.sequence > record.counted_to)
    ]
    sent = [] if _has_unknown(acted) else sent
    # What follows a job whose fate is not known is selected again, unless it was sent.
    known = next((at for at, one in enumerate(acted) if one.fate is Fate.HALTED), len(acted))
    return Handled(
        sent=len(sent),
        refused=sum(one.fate is Fate.REFUSED for one in acted[:known]),
        changed=sum(one.fate is Fate.CHANGED for one in acted[:known]),
        cursor=chunk[known - 1].state_sequence if known else record.cursor,
        counted_to=max((one.sequence for one in sent), default=record.counted_to),
        is_last=is_last and known == len(acted),
    )


def _has_unknown(acted: Sequence[Acted]) -> bool:
    """Return whether there is a job whose fate is not known: its event may be stored."""
    return any(one.fate is Fate.HALTED for one in acted)
