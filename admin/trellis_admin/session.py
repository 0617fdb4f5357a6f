"""What an operator works with: the connection, the file of the projection, and the audit log."""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Concatenate, Final, NamedTuple, ParamSpec, TypeVar

from trellis_nats import RUNTIME_API, Contract, Options, Runtime, TrellisError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats.connect import open_connection
from trellis_nats.errors import JobNotFound, PermissionsMissing
from trellis_nats.jobs.model.subjects import STREAM
from trellis_nats.permissions import VIEWER_INBOX

from trellis_admin.audit_log import AuditLog, explain_missing
from trellis_admin.cache import default_folder
from trellis_admin.projection import CaughtUp, Database, catch_up, connect_reader
from trellis_admin.projection.follower import Progress, ignore_progress
from trellis_admin.queries import JobRow, QueuePlace, Target, find_jobs, find_queues

__all__ = [
    "AmbiguousJob",
    "JobPlace",
    "JobTarget",
    "QueueProblem",
    "Session",
    "default_actor",
    "default_database",
    "open_admin_connection",
]

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

_CONTRACT: Final = Contract(id="trellis-admin@v1", digest="", generator="", runtime_api=RUNTIME_API)
"""It names the connection and its inbox. The admin tools have no contract of their own."""

JobTarget = str | JobRow | Target
"""A job: its id, `<prefix>.<id>`, or what a query returned, which says how the job was seen."""


class AmbiguousJob(TrellisError):
    """More than one queue has a job of this id. Nothing was done."""


class QueueProblem(TrellisError):
    """A name is not that of one queue. Nothing was done."""


class JobPlace(NamedTuple):
    """Where a job is, and how it was seen."""

    prefix: str
    """The publish prefix of its queue."""
    id: str
    seen: int | None
    """The sequence of the event that made the state in which it was seen; None if only its id was given."""

    @property
    def queue(self) -> str:
        """The last token of the prefix: the name of the queue, unless a control plane chose another one."""
        return self.prefix.rpartition(".")[2]

    @property
    def service(self) -> str:
        """The token before it: that of the service."""
        return self.prefix.split(".")[-2]


@asynccontextmanager
async def open_admin_connection(server: str, options: Options) -> AsyncGenerator[Connection]:
    """Connect to a server as the admin tools do.

    An account that may not receive answers where those to operators arrive receives them where those to viewers do.

    Args:
        server: its address; several with commas between them.
        options: credentials, TLS, the domain and prefixes.

    Raises:
        CannotConnect: the server cannot be reached, or refuses the credentials.
        PermissionsMissing: the account may not receive its answers.
    """
    async with AsyncExitStack() as stack:
        try:
            opening = open_connection(Runtime(_CONTRACT, options), server)
            connection = await stack.enter_async_context(opening)
        except PermissionsMissing as missing:
            if options.inbox_prefix is not None or options.session_key is not None:
                raise
            viewing = replace(options, inbox_prefix=VIEWER_INBOX)
            opening = open_connection(Runtime(_CONTRACT, viewing), server)
            try:
                connection = await stack.enter_async_context(opening)
            except PermissionsMissing:
                raise missing from None
        yield connection


async def default_database(connection: Connection) -> Path:
    """Return the file of the projection of stream JOBS, below the user's cache folder: one for each account of a server.

    Raises:
        CannotRead: the account may not look up the stream.
        TransportError: the server did not answer.
    """
    with explain_missing("the jobs", STREAM):
        info = await get_stream_info(connection, STREAM)
    # No two streams are created at the same nanosecond. Before there is one, the address has to do.
    identity = connection.address if info is None else str(info.get("created"))
    return default_folder() / f"jobs-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.sqlite"


def default_actor() -> str:
    """Return who acts where it is not said: the environment variable `TRELLIS_ACTOR`, else the user of the system."""
    given = os.environ.get("TRELLIS_ACTOR", "").strip()
    if given:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for its user
        return "unknown"


@dataclass(slots=True)
class Session:
    """The connection, the projection and the audit log of one actor."""

    connection: Connection
    database: Path
    """The file of the projection."""
    audit: AuditLog

    async def catch_up(self, progress: Progress = ignore_progress) -> CaughtUp:
        """Bring the projection up to date.

        Args:
            progress: called from time to time with how many events are read, and how many there were to read.

        Raises:
            ProjectionProblem: the file cannot be used.
            PermissionDenied: the account may not read the stream.
            TransportError: the server did not answer.
        """
        database = Database.open(self.database)
        try:
            return await catch_up(self.connection, database, progress=progress)
        finally:
            database.close()

    async def ask(
        self,
        question: Callable[Concatenate[sqlite3.Connection, Arguments], Answer],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Answer:
        """Ask the projection, with a function of `trellis_admin.queries`, in a thread of its own.

            page = await session.ask(list_jobs, Selection(parse_filter("state:dead", now), at))

        Raises:
            ProjectionProblem: the file cannot be used.
        """

        def answer() -> Answer:
            with closing(connect_reader(self.database)) as reader:
                return question(reader, *args, **kwargs)

        return await asyncio.to_thread(answer)

    async def find(self, job: JobTarget) -> JobPlace:
        """Return where a job is.

        Raises:
            JobNotFound: no job has this id.
            AmbiguousJob: several queues have one.
        """
        if isinstance(job, JobRow | Target):
            return JobPlace(job.prefix, job.id, job.state_sequence)
        rows = [row for row in await self.ask(find_jobs, job) if job in {row.id, f"{row.prefix}.{row.id}"}]
        if not rows:
            await self.catch_up()
            found = await self.ask(find_jobs, job)
            rows = [row for row in found if job in {row.id, f"{row.prefix}.{row.id}"}]
        match rows:
            case []:
                raise JobNotFound(
                    f'there is no job "{job:.200}": it never existed, or its history is no longer kept'
                )
            case [row]:
                return JobPlace(row.prefix, row.id, None)
            case _:
                named = ", ".join(sorted(f"{row.prefix}.{row.id}" for row in rows))
                raise AmbiguousJob(f'several queues have a job "{job}": name one of {named}')

    async def find_queue(self, name: str) -> QueuePlace:
        """Return a queue by its name, `<service>/<queue>` or publish prefix.

        Raises:
            QueueProblem: there is no such queue, or several.
        """
        found = await self.ask(find_queues, name)
        if not found:
            await self.catch_up()
            found = await self.ask(find_queues, name)
        match found:
            case [one]:
                return one
            case []:
                raise QueueProblem(f'no queue "{name:.200}" has had a job; `trellis queues` lists them')
            case _:
                named = ", ".join(f"{place.service}/{place.name}" for place in found)
                raise QueueProblem(f'several services have a queue "{name:.200}": name one of {named}')
