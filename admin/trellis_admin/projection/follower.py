"""Reads stream JOBS into the projection: once up to its end, or as long as it is asked to.

Nothing is acknowledged, and no consumer stays: how far was read is in the file, in the transaction of the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple, TypeVar

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.bulk_reader import BulkReader
from trellis_nats._nats.jetstream.delivery import Delivery
from trellis_nats._nats.jetstream.stream_follower import follow_stream
from trellis_nats._nats.jetstream.streams import count_by_subject, get_stream_info
from trellis_nats._nats.outages import through_outages
from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats._versions import digest_of
from trellis_nats.clock import to_milliseconds
from trellis_nats.errors import ApiError
from trellis_nats.jobs.model.subjects import EVENTS_PREFIX, STREAM

from trellis_admin.projection.database import Database
from trellis_admin.projection.incoming import Incoming
from trellis_admin.projection.job_events import read_incoming
from trellis_admin.projection.pages import PageBuffer
from trellis_admin.projection.store import Checkpoint
from trellis_admin.projection.writer import EndedJob, OtherStream, Writer

__all__ = ["CaughtUp", "Progress", "catch_up", "follow", "ignore_progress"]

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Called after each page with how many events were read and how many there were to read when reading began."""

_SUBJECTS: Final = f"{EVENTS_PREFIX}.>"
_NANOSECONDS: Final = 1_000_000
_LOOK_AGAIN: Final = timedelta(minutes=1)
"""How often a follower makes sure that the stream is the one that it reads: a server says nothing about a roll-back."""
_PATH_AGAIN: Final = 2.0
"""Seconds between two looks whether the file was deleted: where nothing is stored, nothing is written to it."""
_STREAM_AGAIN: Final = timedelta(seconds=1)
"""How often a stream is looked for that does not exist yet."""
_STREAM_NOT_FOUND: Final = 10059
_PURGES_EVERY: Final = timedelta(minutes=1)
_PURGED_AT_ONCE: Final = 64


class CaughtUp(NamedTuple):
    """What was read."""

    sequence: int
    """The projection has every event up to this one."""
    events: int
    was_rebuilt: bool
    """Whether the file was emptied first, because the stream was rolled back or created again."""


class _Stream(NamedTuple):
    created: str
    first: int
    last: int


_NO_STREAM: Final = _Stream("", 0, 0)
_NOTHING: Final = Checkpoint("", 0, 0, "", b"")


def ignore_progress(_done: int, _total: int) -> None:
    """Show nothing."""


async def catch_up(
    connection: Connection, database: Database, *, progress: Progress = ignore_progress
) -> CaughtUp:
    """Read what the stream holds and the projection does not have yet. A stream that does not exist holds nothing.

    Several processes may do so at the same time with the same file.

    Args:
        connection: to the server.
        database: the file. It is written through a connection of its own.
        progress: called from time to time.

    Raises:
        PermissionDenied: the account may not read the stream.
        TransportError: the server does not answer.
    """
    async with _reading(connection, database) as reading:
        return await reading.catch_up(progress)


async def follow(
    connection: Connection, database: Database, *, changed: Callable[[int], None] = lambda _: None
) -> None:
    """Catch up, and keep the projection up to date until cancelled, through outages. The stream need not exist yet.

    Args:
        connection: to the server.
        database: the file. It is written through a connection of its own.
        changed: called with the sequence of the projection after each transaction.

    Raises:
        PermissionDenied: the account may not read the stream.
    """
    while True:  # a file that was deleted is read again as another one
        async with _reading(connection, database) as reading:
            while reading.is_at_its_path():
                await _follow_on(connection, reading, changed)


async def _follow_on(connection: Connection, reading: _Reading, changed: Callable[[int], None]) -> None:
    """Catch up, and follow for a while."""
    caught_up = await through_outages(
        connection,
        lambda: reading.catch_up(lambda _done, _total: changed(reading.sequence)),
        what=f"reading stream {STREAM}",
    )
    changed(caught_up.sequence)
    try:
        async with asyncio.timeout(_LOOK_AGAIN.total_seconds()) as limit:
            watching = asyncio.create_task(_end_with_file(reading, limit))
            try:
                await reading.follow(changed)
            finally:
                watching.cancel()
    except (TimeoutError, OtherStream):
        return
    except ApiError as error:
        if error.err_code != _STREAM_NOT_FOUND:
            raise
        await asyncio.sleep(_STREAM_AGAIN.total_seconds())


async def _end_with_file(reading: _Reading, limit: asyncio.Timeout) -> None:
    """End a time limit once the path does not name the file any longer."""
    while not limit.expired():
        if not reading.is_at_its_path():
            limit.reschedule(asyncio.get_running_loop().time())
            return
        await asyncio.sleep(_PATH_AGAIN)


@asynccontextmanager
async def _reading(connection: Connection, database: Database) -> AsyncGenerator[_Reading]:
    # The thread has a connection of its own: one that the caller closes while a thread uses it ends the process.
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="trellis-projection")
    loop = asyncio.get_running_loop()
    try:
        own = await loop.run_in_executor(executor, lambda: Database.open(database.path))
        try:
            yield _Reading(connection, Writer(own), executor, own.is_at_its_path)
        finally:
            executor.submit(own.close)
    finally:
        executor.shutdown()


class _Reading:
    """One process that reads a stream into a file."""

    def __init__(
        self,
        connection: Connection,
        writer: Writer,
        executor: ThreadPoolExecutor,
        is_at_its_path: Callable[[], bool],
    ) -> None:
        self.is_at_its_path: Final = is_at_its_path
        """Whether the path still names the file that is written."""
        self._connection = connection
        self._writer = writer
        self._executor = executor
        self._checkpoint = _NOTHING

    @property
    def sequence(self) -> int:
        """The sequence of the projection, as far as this process knows."""
        return self._checkpoint.sequence

    async def catch_up(self, progress: Progress) -> CaughtUp:
        """Read up to the end of the stream."""
        was_rebuilt = False
        while True:
            stream = await self._look()
            was_rebuilt |= await self._attach(stream)
            if stream is _NO_STREAM:
                return CaughtUp(self.sequence, 0, was_rebuilt)
            try:
                events = await self._read(progress)
            except OtherStream:
                was_rebuilt = True
                continue
            except ApiError as error:
                if error.err_code != _STREAM_NOT_FOUND:
                    raise
                continue  # it was deleted in this moment
            await self._in_thread(
                partial(
                    self._writer.note_stream,
                    first_sequence=stream.first,
                    last_sequence=stream.last,
                    is_complete=True,
                )
            )
            await self._drop_purged(stream)
            return CaughtUp(self.sequence, events, was_rebuilt)

    async def follow(self, changed: Callable[[int], None]) -> None:
        """Write what the stream stores from now on, until the connection is lost or the file was deleted."""
        async with follow_stream(self._connection, STREAM, _SUBJECTS, after=self.sequence) as messages:
            buffer = PageBuffer(messages, _read_delivery)
            forget = self._connection.on_disconnect(buffer.end)
            try:
                async with buffer.filling():
                    while page := await buffer.take():
                        await self._apply(page)
                        changed(self.sequence)
                        if not self.is_at_its_path():
                            return
            finally:
                forget()

    async def _look(self) -> _Stream:
        """Look up the stream, and how far another process may have read it."""
        self._checkpoint = await self._in_thread(self._writer.checkpoint)
        match await get_stream_info(self._connection, STREAM):
            case {"created": str(created), "state": {"first_seq": int(first), "last_seq": int(last)}}:
                return _Stream(created, first, last)
            case _:
                return _NO_STREAM

    async def _attach(self, stream: _Stream) -> bool:
        """Make sure that the rows are of this stream, and return whether there were others."""
        known = self._checkpoint
        if known.stream_created == stream.created and known.sequence <= stream.last:
            return False
        await self._empty(stream.created)
        return known.stream_created != ""

    async def _empty(self, created: str) -> None:
        generation = self._checkpoint.salt
        await self._in_thread(lambda: self._writer.empty(created, generation=generation))
        self._checkpoint = await self._in_thread(self._writer.checkpoint)

    async def _read(self, progress: Progress) -> int:
        """Read from the message at the checkpoint on: it shows whether the stream was rolled back.

        Raises:
            OtherStream: the projection was emptied, by this process or another one.
        """
        known = self._checkpoint
        done = 0
        async with BulkReader(
            self._connection, STREAM, [_SUBJECTS], after=max(known.sequence - 1, 0)
        ) as reader:
            total, is_first = reader.left, True
            while stored := await reader.read():
                page = [read_incoming(one) for one in stored]
                if is_first and page[0].sequence == known.sequence:
                    first = page.pop(0)
                    if (first.subject, first.stored_at) != (known.subject, known.stored_at):
                        await self._empty(known.stream_created)
                        raise OtherStream("the stream was rolled back")
                is_first = False
                await self._apply(page)
                done += len(stored)
                progress(done, max(total, done))
        return done

    async def _apply(self, page: Sequence[Incoming]) -> None:
        known = self._checkpoint
        sequence = await self._in_thread(
            lambda: self._writer.apply(page, generation=known.salt, after=known.sequence)
        )
        self._checkpoint = known._replace(sequence=sequence)

    async def _drop_purged(self, stream: _Stream) -> None:
        """Remove the jobs that the stream does not have any more.

        A purge leaves no trace. But a service purges the jobs of a queue that ended first, so these are looked at.
        """
        every = to_milliseconds(_PURGES_EVERY)
        if not await self._in_thread(lambda: self._writer.is_time_for_purges(every)):
            return
        await self._in_thread(lambda: self._writer.drop_before(stream.first))
        at_once = 1
        while True:
            oldest = await self._in_thread(partial(self._writer.oldest_ended, at_once))
            jobs = [job for ended in oldest.values() for job in ended]
            has_events = await bounded_gather(jobs, self._has_events)
            gone = [job.created_seq for job, has in zip(jobs, has_events, strict=True) if not has]
            if not gone:
                break
            await self._in_thread(partial(self._writer.drop_jobs, gone))
            at_once = _PURGED_AT_ONCE
        await self._in_thread(self._writer.tidy)

    async def _has_events(self, job: EndedJob) -> bool:
        return bool(await count_by_subject(self._connection, STREAM, job.filter))

    async def _in_thread(self, function: Callable[[], T]) -> T:
        """Call a function that blocks. It has ended when this returns, also where that is cancelled."""
        future = asyncio.get_running_loop().run_in_executor(self._executor, function)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise


def _read_delivery(delivery: Delivery) -> Incoming:
    return Incoming(
        delivery.stream_sequence,
        delivery.stored_nanoseconds // _NANOSECONDS,
        delivery.subject,
        delivery.data,
        digest_of(delivery.headers),
    )
