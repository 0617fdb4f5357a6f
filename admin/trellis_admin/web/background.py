"""What a console does between requests: follow the stream, look where it ends, and run bulk actions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from trellis_nats import TrellisError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.errors import PermissionDenied, TransportError
from trellis_nats.jobs.model.subjects import STREAM

from trellis_admin.audit_log import AdminResourceMissing
from trellis_admin.bulk import BulkActions, BulkRecord
from trellis_admin.projection import Database, follow

__all__ = ["Background", "StreamEnd"]

_log = logging.getLogger(__name__)

_EACH: Final = 2.0
"""Seconds between two looks at the end of the stream, and until what failed is repeated."""


class StreamEnd(NamedTuple):
    """The newest sequence of the stream, and when it was looked up."""

    sequence: int
    looked_at: datetime


@dataclass(slots=True)
class Background:
    """The tasks of a console."""

    connection: Connection
    database: Path
    bulk: BulkActions
    problem: str | None = None
    """Why the stream is not followed; None while it is."""
    end: StreamEnd | None = None
    """Where the stream ended when it was last looked up; None before, and for an account that may not."""
    bulk_actions: dict[str, BulkRecord] = field(default_factory=dict[str, BulkRecord])
    """The bulk actions by their ids; none for an account that may not run them."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Run the tasks for the length of an `async with` block."""
        work = (self._follow, self._look_at_end, self._run_bulk_actions)
        tasks = [asyncio.create_task(self._repeat(one), name=one.__name__) for one in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        with contextlib.suppress(_NotAllowed):
            while True:
                await work()
                await asyncio.sleep(_EACH)

    async def _follow(self) -> None:
        """Keep the projection up to date, whatever happens to the server."""
        try:
            database = Database.open(self.database)
            try:
                self.problem = None
                await follow(self.connection, database)
            finally:
                database.close()
        except (TrellisError, sqlite3.Error) as error:
            self.problem = str(error)
            _log.warning(
                "the console does not follow stream %s: %s",
                STREAM,
                error,
                extra=log_fields(LogEvent.CONSOLE_NOT_LIVE, stream=STREAM),
            )

    async def _look_at_end(self) -> None:
        """Look up where the stream ends: how far the projection is behind, and whether the servers answer."""
        try:
            info = await get_stream_info(self.connection, STREAM)
        except PermissionDenied:
            raise _NotAllowed from None
        except TransportError:
            return
        match info:
            case {"state": {"last_seq": int(last)}}:
                self.end = StreamEnd(last, datetime.now(UTC))
            case _:
                self.end = StreamEnd(0, datetime.now(UTC))

    async def _run_bulk_actions(self) -> None:
        """Run bulk actions that begin here, and those that a process which died had begun. An account that may only read does not."""
        try:
            await self.bulk.serve(on_record=self._keep)
        except (AdminResourceMissing, PermissionDenied) as denial:
            _log.info("the console runs no bulk actions: %s", denial, extra=log_fields(LogEvent.BULK_NOT_RUN))
            raise _NotAllowed from denial
        except TransportError as error:
            _log.warning("bulk actions are not run: %s", error, extra=log_fields(LogEvent.BULK_NOT_RUN))

    def _keep(self, record: BulkRecord) -> None:
        self.bulk_actions[record.id] = record


class _NotAllowed(Exception):
    """The account may not do what a task is for."""
