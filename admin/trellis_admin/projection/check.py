"""Compares a projection with the stream: all of it, or a sample."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Final, NamedTuple

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.bulk_reader import BulkReader
from trellis_nats._nats.jetstream.streams import get_next_message_from_leader
from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats.errors import PermissionDenied
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import EVENTS_PREFIX, STREAM

from trellis_admin.projection.codes import STATES
from trellis_admin.projection.database import Database, connect_reader
from trellis_admin.projection.fold import Changes, fold
from trellis_admin.projection.follower import Progress, ignore_progress
from trellis_admin.projection.incoming import JobPlace, job_place
from trellis_admin.projection.job_events import read_incoming, read_job_events
from trellis_admin.projection.rows import Job
from trellis_admin.projection.store import Store
from trellis_admin.projection.writer import Writer

__all__ = ["Checked", "Difference", "check_projection"]

_COMPARED: Final = tuple(field.name for field in fields(Job) if field.name not in {"service", "queue"})
"""The names of a queue are those of its first job, not of each."""
_KEPT: Final = 100


class Difference(NamedTuple):
    """Something that the projection says and the stream does not, or the other way round."""

    job: str
    """Its publish prefix and its id, with a point between them; a queue's publish prefix for a counter."""
    text: str
    """What differs, as a sentence."""


class Checked(NamedTuple):
    """What a check found."""

    at: int
    """The sequence up to which both were compared."""
    jobs: int
    """How many jobs were compared."""
    differences: tuple[Difference, ...]
    """At most 100."""
    more: int
    """How many there are in addition."""


async def check_projection(
    connection: Connection,
    database: Path,
    *,
    sample: int | None = 500,
    progress: Progress = ignore_progress,
) -> Checked:
    """Compare the projection with the stream, as far as the projection has read it. Nothing is changed.

    A job that was purged is a difference until the projection drops it, which takes a minute.

    Args:
        connection: to the server.
        database: the file of the projection, which may be in use.
        sample: about how many jobs are compared, half of them from each side, or all from the projection where the account may
            not read single messages; None folds the whole stream again into a temporary file of the size of this one.
        progress: called from time to time with what is done and what there is to do.

    Raises:
        ProjectionProblem: the file cannot be used.
        PermissionDenied: the account may not read the stream.
        TransportError: the server does not answer.
    """
    with closing(connect_reader(database)) as reader:
        reader.execute("BEGIN")  # one state of the file, whatever is written meanwhile
        checking = _Checking(connection, reader)
        checking.compare_counters()
        if sample is None:
            await checking.compare_all(progress)
        else:
            await checking.compare_some(sample, progress)
        return checking.result()


class _Checking:
    """One check."""

    def __init__(self, connection: Connection, reader: sqlite3.Connection) -> None:
        self._connection = connection
        self._reader = reader
        self._at: int = reader.execute("SELECT sequence FROM checkpoint").fetchone()[0]
        self._jobs = 0
        self._found: list[Difference] = []
        self._more = 0

    def result(self) -> Checked:
        """Return what was found."""
        return Checked(self._at, self._jobs, tuple(self._found), self._more)

    def compare_counters(self) -> None:
        """Compare the counters with the rows."""
        counted = self._reader.execute(
            "SELECT prefix, state, jobs, (SELECT count(*) FROM job WHERE job.queue = counter.queue AND job.state = "
            "counter.state) FROM counter JOIN queue ON number = queue"
        )
        for prefix, state, jobs, rows in counted:
            if jobs != rows:
                self._add(
                    prefix,
                    f"the counter of {STATES[state]} jobs is {jobs:,}, and {rows:,} rows are in that state",
                )

    async def compare_all(self, progress: Progress) -> None:
        """Fold the stream again, and compare every row."""
        with tempfile.TemporaryDirectory(prefix="trellis-check-") as folder:
            path = Path(folder) / "fresh.sqlite"
            with closing(Database.open(path)) as fresh:
                await self._fold(Writer(fresh), progress)
            with closing(connect_reader(path)) as fresh_reader:
                for own, other in _merge(Store(self._reader).all_jobs(), Store(fresh_reader).all_jobs()):
                    self._compare(own, other)

    async def compare_some(self, sample: int, progress: Progress) -> None:
        """Compare jobs that are drawn from the rows and from the stream."""
        may_draw_stored = bool(self._at) and await self._may_draw_stored()
        places: list[JobPlace | None] = [*self._draw_rows(sample // 2 if may_draw_stored else sample)]
        if may_draw_stored:
            drawn = [random.randint(1, self._at) for _ in range(sample - len(places))]  # noqa: S311 - it need not be secret
            places += await bounded_gather(drawn, self._draw_stored)
        known = [*dict.fromkeys(place for place in places if place is not None)]
        done = 0

        async def compare(place: JobPlace) -> None:
            nonlocal done
            await self._compare_one(place)
            done += 1
            progress(done, len(known))

        await bounded_gather(known, compare)

    def _draw_rows(self, number: int) -> Iterator[JobPlace]:
        bounds: tuple[int | None, int | None] = self._reader.execute(
            "SELECT min(created_seq), max(created_seq) FROM job"
        ).fetchone()
        first, last = bounds
        if first is None or last is None:
            return
        for _ in range(number):
            row = self._reader.execute(
                "SELECT prefix, id FROM job JOIN queue ON number = queue WHERE created_seq >= ? ORDER BY created_seq LIMIT 1",
                (random.randint(first, last),),  # noqa: S311 - it need not be secret
            ).fetchone()
            yield JobPlace(row[0], row[1], "")

    async def _may_draw_stored(self) -> bool:
        """Return whether the account may read single messages of the stream: a viewer may not."""
        try:
            await self._draw_stored(self._at)
        except PermissionDenied:
            return False
        return True

    async def _draw_stored(self, start: int) -> JobPlace | None:
        """Return the job that was created next after a sequence."""
        created = f"{EVENTS_PREFIX}.*.*.*.{EventType.CREATED}"
        message = await get_next_message_from_leader(self._connection, STREAM, created, start)
        if message is None or message.sequence > self._at:
            return None
        place = job_place(message.subject)
        return None if place is None else place._replace(kind="")

    async def _compare_one(self, place: JobPlace) -> None:
        events = await read_job_events(self._connection, place.prefix, place.id)
        if events.is_cut:
            return
        fresh = Changes({})
        for message in events.messages:
            if message.sequence <= self._at:
                fold(fresh, message, b"")
        job = (place.prefix, place.id)
        own, _ = Store(self._reader).load([place])
        self._compare(own.jobs[job], fresh.jobs.get(job))

    async def _fold(self, writer: Writer, progress: Progress) -> None:
        async with BulkReader(
            self._connection, STREAM, [f"{EVENTS_PREFIX}.>"], until=self._at or None
        ) as reader:
            total, done = reader.left, 0
            while self._at and (page := await reader.read()):
                messages = [read_incoming(stored) for stored in page if stored.sequence <= self._at]
                checkpoint = writer.checkpoint()
                writer.apply(messages, generation=checkpoint.salt, after=checkpoint.sequence)
                done += len(page)
                progress(done, max(total, done))

    def _compare(self, own: Job | None, other: Job | None) -> None:
        self._jobs += 1
        there = own or other
        if there is None:
            return
        name = f"{there.prefix}.{there.id}"
        if own is None:
            self._add(name, "the projection does not have it")
        elif other is None:
            self._add(name, "the stream does not have it")
        else:
            for column in _COMPARED:
                mine, theirs = getattr(own, column), getattr(other, column)
                if mine != theirs:
                    self._add(name, f"{column} is {mine!r:.100}, and by the stream {theirs!r:.100}")

    def _add(self, job: str, text: str) -> None:
        if len(self._found) < _KEPT:
            self._found.append(Difference(job, text))
        else:
            self._more += 1


def _merge(own: Iterator[Job], other: Iterator[Job]) -> Iterator[tuple[Job | None, Job | None]]:
    """Yield pairs of rows, both sides being in the order of creation."""
    mine, theirs = next(own, None), next(other, None)
    while mine is not None or theirs is not None:
        if theirs is None or (mine is not None and mine.created_seq < theirs.created_seq):
            yield mine, None
            mine = next(own, None)
        elif mine is None or theirs.created_seq < mine.created_seq:
            yield None, theirs
            theirs = next(other, None)
        else:
            yield mine, theirs
            mine, theirs = next(own, None), next(other, None)
