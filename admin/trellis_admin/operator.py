"""What operators do, for Python programs: the commands and the web view are layers over this.

    async with trellis_admin.connect("nats://127.0.0.1:4222", actor="anna") as operator:
        page = await operator.jobs("state:dead queue:charge-payment")
        await operator.replay(page.rows[0], reason="gateway is back")

Reading answers from the projection, a file that `connect` brings up to date; a job's history comes from the stream. Every change
is an event with actor and reason, fenced by what was seen, and is in the audit log before it happens.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from trellis_nats import Options, Service
from trellis_nats._connect_block import open_in_async_with
from trellis_nats._nats.connection import Connection
from trellis_nats.clock import now
from trellis_nats.errors import JobNotFound
from trellis_nats.jobs.model.states import JobState

from trellis_admin.audit_log import (
    AuditLog,
    AuditPage,
    parse_audit_filter,
    read_audit,
)
from trellis_admin.bulk import BulkActions
from trellis_admin.keys import KeyActions
from trellis_admin.payloads import PayloadContract
from trellis_admin.projection import CaughtUp, forget_if_purged
from trellis_admin.projection.follower import Progress, ignore_progress
from trellis_admin.queries import (
    Count,
    JobFilter,
    JobHistory,
    JobPage,
    Selection,
    Sort,
    count_states,
    list_jobs,
    parse_filter,
    read_history,
    read_status,
)
from trellis_admin.session import (
    AmbiguousJob,
    JobTarget,
    QueueProblem,
    Session,
    default_actor,
    default_database,
    open_admin_connection,
)
from trellis_admin.steering import Steering

__all__ = [
    "AmbiguousJob",
    "JobTarget",
    "Operator",
    "QueueProblem",
    "connect",
    "default_actor",
    "default_database",
    "open_admin_connection",
]

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

PYTHON: Final = "Python API"
"""Where actions come from that no command or page takes."""


@open_in_async_with("operator")
async def connect(
    server: str,
    options: Options | None = None,
    *,
    actor: str | None = None,
    source: str = PYTHON,
    db: Path | None = None,
    contract: type[Service] | Service | Sequence[type[Service] | Service] | None = None,
    progress: Progress = ignore_progress,
) -> AsyncGenerator[Operator]:
    """Connect to a server, bring the projection up to date, and provide what operators do.

    Args:
        server: the address; several with commas between them.
        options: credentials, TLS, the domain and prefixes of JetStream.
        actor: the person or program that acts; the default is the environment variable `TRELLIS_ACTOR`, else the user of the system.
        source: from where, for the audit log: `console`, `command line`, `Python API`, or `token <name>`.
        db: the file of the projection; the default is below the user's cache folder, one for each account of a server.
        contract: the class of a generated package, or a service with upcasters, or several of them: what the workers of a queue
            would refuse is not replayed, and what its schemas call secret is not revealed.
        progress: called while the projection is brought up to date.

    Raises:
        CannotConnect: the server cannot be reached, or refuses the credentials.
        CannotRead: the account may not read the jobs.
        ProjectionProblem: the file of the projection cannot be used.
        TransportError: the server did not answer.
    """
    async with open_admin_connection(server, options or Options(open=True)) as connection:
        database = await default_database(connection) if db is None else db
        given = contract if isinstance(contract, Sequence) else [] if contract is None else [contract]
        contracts = [PayloadContract.of(service) for service in given]
        operator = Operator(
            connection, database, actor=actor or default_actor(), source=source, contracts=contracts
        )
        await operator.catch_up(progress)
        yield operator


class Operator(Steering):
    """What one actor reads and does. It is cheap to make: a web view has one for each person."""

    def __init__(
        self,
        connection: Connection,
        database: Path,
        *,
        actor: str,
        source: str,
        contracts: Sequence[PayloadContract] = (),
    ) -> None:
        """Prepare. `database` is the file of the projection, which `catch_up` or another process brings up to date."""
        audit = AuditLog(connection, actor=actor, source=source)
        super().__init__(Session(connection, database, audit), contracts)
        self.bulk: Final = BulkActions(self.session, contracts)
        """Actions on many jobs."""
        self.keys: Final = KeyActions(self.session)
        """Concurrency keys."""

    @property
    def actor(self) -> str:
        """The person or program that acts."""
        return self.session.audit.actor

    def acting_as(self, actor: str) -> Operator:
        """Return an operator for another actor from the same source."""
        session = self.session
        return Operator(
            session.connection,
            session.database,
            actor=actor,
            source=session.audit.source,
            contracts=self.contracts,
        )

    # --- reading ---------------------------------------------------------------------------------------------------

    async def catch_up(self, progress: Progress = ignore_progress) -> CaughtUp:
        """Bring the projection up to date. Raises as `connect`."""
        return await self.session.catch_up(progress)

    async def ask(
        self,
        question: Callable[Concatenate[sqlite3.Connection, Arguments], Answer],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Answer:
        """Ask the projection with a function of `trellis_admin.queries`, in a thread.

            queues = await operator.ask(list_queues, timedelta(hours=1), now)

        Raises:
            ProjectionProblem: the file cannot be used.
        """
        return await self.session.ask(question, *args, **kwargs)

    async def select(self, query: str | JobFilter = "", *, at: int | None = None) -> Selection:
        """Return the jobs that match a filter, as they are now or were at a sequence.

        Raises:
            FilterProblem: the filter cannot be read.
        """
        wanted = parse_filter(query, now()) if isinstance(query, str) else query
        return Selection(wanted, (await self.ask(read_status)).at if at is None else at)

    async def jobs(
        self,
        query: str | JobFilter = "",
        *,
        at: int | None = None,
        before: int | None = None,
        limit: int = 50,
        sort: Sort = Sort.NEWEST,
    ) -> JobPage:
        """Return a page of the jobs that match a filter, such as `state:dead queue:charge-payment created:>-1h`.

        Args:
            query: which jobs; empty for all.
            at: the sequence at which to look: that of the first page, for the next ones. None for now.
            before: `JobPage.next` of the page before.
            limit: how many at most.
            sort: the order.

        Raises:
            FilterProblem: the filter cannot be read.
        """
        selection = await self.select(query, at=at)
        return await self.ask(list_jobs, selection, before=before, limit=limit, sort=sort)

    async def count(self, query: str | JobFilter = "") -> Mapping[JobState, Count]:
        """Return how many jobs match a filter, by state. Raises as `jobs`."""
        return await self.ask(count_states, await self.select(query))

    async def history(self, job: JobTarget) -> JobHistory:
        """Return one job with everything that the stream has of it.

        Raises:
            JobNotFound: there is no such job.
            AmbiguousJob: several queues have a job of this id.
            TransportError: the server did not answer.
        """
        place = await self.session.find(job)
        connection = self.session.connection
        try:
            return await read_history(connection, place.prefix, place.id)
        except JobNotFound:
            await forget_if_purged(connection, self.session.database, place.prefix, place.id)
            raise

    async def audit_log(
        self,
        query: str = "",
        *,
        before: int | None = None,
        limit: int = 50,
    ) -> AuditPage:
        """Return who changed or saw what, newest first: `actor:anna action:replay,dismiss since:7d INC-2287`.

        Args:
            query: which entries; empty for all.
            before: `AuditPage.older` of the page before.
            limit: how many at most.

        Raises:
            AuditFilterProblem: the filter cannot be read.
            CannotRead: the account may not read the log.
        """
        wanted = parse_audit_filter(query, now())
        return await read_audit(self.session.connection, wanted, before=before, limit=limit)
