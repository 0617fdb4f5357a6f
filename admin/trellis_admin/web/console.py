"""What the pages share: the projection that is kept up to date, queries in threads, and the connection for everything else."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Concatenate, Final, NamedTuple, ParamSpec, TypeVar

from trellis_nats import Options
from trellis_nats._nats.connection import Connection
from trellis_nats.errors import TransportError

from trellis_admin.bulk import BulkRecord
from trellis_admin.operator import Operator
from trellis_admin.payloads import PayloadContract, find_contract
from trellis_admin.projection import Database, connect_reader
from trellis_admin.queries import (
    FilterProblem,
    JobFilter,
    ProjectionStatus,
    QueueRow,
    list_queues,
    list_workers,
    read_pauses,
    read_status,
)
from trellis_admin.session import default_database, open_admin_connection
from trellis_admin.web.access import Access, Identity, Role
from trellis_admin.web.background import Background, StreamEnd
from trellis_admin.web.protection import FormToken

__all__ = ["Console", "Navigation", "Pause", "Settings"]

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

_THREADS: Final = 4
_NAVIGATION_FOR: Final = 1.0
"""Seconds for which the navigation of a page is used for others too."""
_STATUS_FOR: Final = 0.5
"""Seconds for which the look of one open page is used for others too."""
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the person who starts the console chooses."""

    server: str
    """The address of the server; several with commas between them."""
    options: Options
    database: Path | None = None
    """The file of the projection; None for the one that the commands use."""
    access: Access
    contracts: tuple[PayloadContract, ...] = ()
    """What says which fields of payloads are secret, and which edited payloads are valid."""
    label: str | None = None
    """The name of the environment, next to the name of the console."""
    whom_to_ask: str = ""
    """The team or person that gives the role operator."""
    trace_address: str = ""
    """Where a trace is shown, with `{trace_id}` in it."""


class Pause(NamedTuple):
    """A queue that is paused."""

    service: str
    queue: str
    prefix: str
    by: str
    reason: str | None
    since: datetime


class Navigation(NamedTuple):
    """What every page shows in addition to its own."""

    status: ProjectionStatus
    queues: tuple[QueueRow, ...]
    pauses: tuple[Pause, ...]
    workers: int
    server: str


@dataclass(slots=True)
class Console:
    """One running console."""

    settings: Settings
    tokens: FormToken = field(default_factory=FormToken)
    _background: Background | None = None
    _connection: Connection | None = None
    _path: Path | None = None
    _pool: ThreadPoolExecutor | None = None
    _stack: AsyncExitStack | None = None
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _navigation: tuple[float, Navigation] | None = None
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _status: tuple[float, ProjectionStatus] | None = None
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    open_streams: int = 0
    """How many pages follow what changes."""

    @property
    def problem(self) -> str | None:
        """Why the stream is not followed; None while it is."""
        return None if self._background is None else self._background.problem

    @property
    def end(self) -> StreamEnd | None:
        """Where the stream ended when it was last looked up."""
        return None if self._background is None else self._background.end

    @property
    def bulk_actions(self) -> list[BulkRecord]:
        """The bulk actions as they were last seen, the newest first; none where the account may not run them."""
        known = () if self._background is None else self._background.bulk_actions.values()
        return sorted(known, key=lambda record: (record.created_at, record.id), reverse=True)

    @property
    def connection(self) -> Connection:
        """The connection to NATS."""
        if self._connection is None:
            raise RuntimeError("the console has not started")
        return self._connection

    async def start(self) -> None:
        """Connect and follow the stream, unless that was done: an application that mounts the console starts it by its use."""
        async with self._starting:
            if self._stack is not None:
                return
            async with AsyncExitStack() as stack:
                self._connection = await stack.enter_async_context(
                    open_admin_connection(self.settings.server, self.settings.options)
                )
                self._path = self.settings.database or await default_database(self._connection)
                Database.open(self._path).close()
                self._pool = stack.enter_context(ThreadPoolExecutor(_THREADS, "trellis-query"))
                bulk = self.operator(Identity("console", Role.OPERATOR)).bulk
                self._background = Background(self._connection, self._path, bulk)
                await stack.enter_async_context(self._background.running())
                self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Close the connection."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    async def query(
        self,
        question: Callable[Concatenate[sqlite3.Connection, Arguments], Answer],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Answer:
        """Ask the projection in a thread, with a connection that can only read.

        Raises:
            ProjectionProblem: the file cannot be used.
        """
        path = self._path
        if self._pool is None or path is None:
            raise RuntimeError("the console has not started")

        def ask() -> Answer:
            with closing(connect_reader(path)) as reader:
                return question(reader, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._pool, ask)

    def operator(self, identity: Identity) -> Operator:
        """Return what a person reads and does."""
        if self._path is None:
            raise RuntimeError("the console has not started")
        return Operator(
            self.connection,
            self._path,
            actor=identity.actor,
            source=identity.source,
            contracts=self.settings.contracts,
        )

    def find_contract(self, prefix: str) -> PayloadContract | None:
        """Return the contract of a queue, if the console knows it."""
        return find_contract(self.settings.contracts, prefix)

    def check_filter(self, identity: Identity, wanted: JobFilter) -> None:
        """Refuse a filter that finds out what is in payloads, to a person who may not see them.

        Raises:
            FilterProblem: the person may not.
        """
        if wanted.asks_about_payloads and not identity.may_operate:
            raise FilterProblem("arg: finds jobs by what is in their payloads; that needs the role operator")

    async def read_pauses(self) -> tuple[Pause, ...]:
        """Return the queues that are paused."""
        return (await self.read_navigation()).pauses

    async def read_navigation(self) -> Navigation:
        """Return what all pages show, at most a second old."""
        async with self._reading:
            now = asyncio.get_running_loop().time()
            if self._navigation is None or now - self._navigation[0] > _NAVIGATION_FOR:
                self._navigation = (now, await self._read_navigation())
            return self._navigation[1]

    async def read_status(self) -> ProjectionStatus:
        """Return how far the projection is, at most half a second old: every open page asks for it each second."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if self._status is None or now - self._status[0] > _STATUS_FOR:
                self._status = (now, await self.query(read_status))
            return self._status[1]

    def forget_navigation(self) -> None:
        """Read the navigation again for the next page: something was changed."""
        self._navigation = None

    async def _read_navigation(self) -> Navigation:
        now = datetime.now(UTC)
        status = await self.query(read_status)
        queues = tuple(await self.query(list_queues, _HOUR, now))
        workers = await self.query(list_workers, now)
        pauses = await self._read_pauses(queues)
        live = sum(not worker.is_silent for worker in workers)
        return Navigation(status, queues, pauses, live, self._describe_server())

    async def _read_pauses(self, queues: tuple[QueueRow, ...]) -> tuple[Pause, ...]:
        known = () if self._navigation is None else self._navigation[1].pauses
        if not self.connection.is_connected:
            return known  # a request would wait for the connection, and each page for the request
        try:
            found = await read_pauses(self.connection, [queue.prefix for queue in queues])
        except TransportError:  # the pages are worth more than this line of them
            return known
        return tuple(
            Pause(queue.service, queue.queue, queue.prefix, pause.by, pause.reason, pause.since)
            for queue in queues
            if (pause := found.get(queue.prefix)) is not None
        )

    def _describe_server(self) -> str:
        version = ".".join(map(str, self.connection.server_version))
        return f"nats-server {version}"
