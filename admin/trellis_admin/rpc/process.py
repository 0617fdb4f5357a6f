"""The process of `trellis admin serve`: follows the jobs, runs duties and bulk actions, answers the admin RPCs, serves metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from trellis_nats import ConfigurationError, Options
from trellis_nats.connect import refuse_unsigned
from trellis_nats.jobs.maintenance.leader_tasks import log_crash

from trellis_admin.audit_log.resources import open_admin_bucket
from trellis_admin.duties import DutyOptions, FindOverdue, FleetDuties, JobPlace
from trellis_admin.metrics import FleetMetrics, MetricsEndpoint
from trellis_admin.operator import Operator, default_database, open_admin_connection
from trellis_admin.payloads import PayloadContract
from trellis_admin.projection import Database, connect_reader, follow
from trellis_admin.queries import list_overdue
from trellis_admin.rpc.serving import serve_admin_rpcs
from trellis_admin.rpc.trellis_jobs_participant import TrellisJobsService

__all__ = ["AdminOptions", "AdminProcess", "admin_process"]

_ACTOR: Final = "admin RPC"
_SOURCE: Final = "RPC"


@dataclass(frozen=True, kw_only=True, slots=True)
class AdminOptions:
    """What the process does."""

    db: Path | None = None
    """The file of the projection; None: below the user's cache folder."""
    duties: DutyOptions | None = field(default_factory=DutyOptions)
    """None: this replica runs neither duties nor bulk actions."""
    rpc: bool = True
    """Whether it answers the admin RPCs."""
    is_open: bool = False
    """Whether it answers them on a server that is not on this machine, for every program that may publish to their subjects.

    Not needed with `Options.callers`, which says who may call.
    """
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    """None: no metrics; 0: any free port."""
    contracts: Sequence[PayloadContract] = ()
    """What says which parts of the values that `Jobs.Get` returns are secret, and which payloads are valid to be sent again."""


@dataclass(slots=True)
class AdminProcess:
    """What runs."""

    database: Path
    """The file of the projection."""
    following: asyncio.Task[None]
    """It ends only with an error: the stream can no longer be read."""
    duties: FleetDuties | None
    metrics_port: int | None
    """The port that is listened on."""
    rpc: str | None
    """None while RPCs are answered, else why they are not."""


@asynccontextmanager
async def admin_process(
    server: str,
    options: Options,
    wanted: AdminOptions,
    *,
    changed: Callable[[int], None] = lambda _: None,
) -> AsyncGenerator[AdminProcess]:
    """Run for the length of an `async with` block.

    Args:
        server: its address; several with commas between them.
        options: credentials, TLS, the domain and prefixes, and who may call the RPCs.
        wanted: what to do.
        changed: called with the sequence of the projection when it has changed.

    Raises:
        CannotConnect: the server cannot be reached, or refuses the credentials.
        CannotRead: the account may not read the jobs.
        AdminResourceMissing: the duties need bucket TRELLIS_ADMIN, and the account may not create it.
        PermissionsMissing: the account may not answer the RPCs.
        ConfigurationError: the port of the metrics cannot be used.
        ProjectionProblem: the file of the projection cannot be used.
    """
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(open_admin_connection(server, options))
        path = wanted.db or await default_database(connection)
        database = stack.enter_context(closing(await asyncio.to_thread(Database.open, path)))
        duties = None
        if wanted.duties is not None:
            bucket = await open_admin_bucket(connection)
            fleet = FleetDuties(connection, bucket, _find_overdue(path), options=wanted.duties)
            duties = await stack.enter_async_context(fleet)
            operator = Operator(connection, path, actor=_ACTOR, source=_SOURCE, contracts=wanted.contracts)
            serving = asyncio.create_task(operator.bulk.serve(), name="bulk actions")
            serving.add_done_callback(log_crash)
            stack.push_async_callback(_cancel, serving)
        port = None
        if wanted.metrics_port is not None:
            metrics = FleetMetrics(connection, path, duties=duties)
            endpoint = MetricsEndpoint(metrics.text, host=wanted.metrics_host, port=wanted.metrics_port)
            port = (await stack.enter_async_context(endpoint)).port
        following = asyncio.create_task(follow(connection, database, changed=changed), name="following jobs")
        stack.push_async_callback(_cancel, following)
        why_not = await _serve_rpcs(stack, server, options, wanted, path)
        yield AdminProcess(database=path, following=following, duties=duties, metrics_port=port, rpc=why_not)


async def _serve_rpcs(
    stack: AsyncExitStack, server: str, options: Options, wanted: AdminOptions, path: Path
) -> str | None:
    """Answer the RPCs until the stack is left; return why not, if they are not answered."""
    if not wanted.rpc:
        return "it is switched off"
    served = replace(options, open=wanted.is_open)
    try:
        refuse_unsigned(server, served)
    except ConfigurationError:
        return "the server is on another machine, and neither --callers nor --open was given"
    service = await stack.enter_async_context(TrellisJobsService.connect(server, options=served))
    asking = await stack.enter_async_context(open_admin_connection(server, options))
    operator = Operator(asking, path, actor=_ACTOR, source=_SOURCE, contracts=wanted.contracts)
    serve_admin_rpcs(service, operator)
    await service.start()
    return None


def _find_overdue(path: Path) -> FindOverdue:
    async def find(before: datetime, limit: int) -> Sequence[JobPlace]:
        def read() -> Sequence[JobPlace]:
            with closing(connect_reader(path)) as db:
                at = round(before.timestamp() * 1000)
                return [JobPlace(target.prefix, target.id) for target in list_overdue(db, at, limit=limit)]

        return await asyncio.to_thread(read)

    return find


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
