"""What operators do, for Python programs: the commands and the web view are layers over this.

    async with trellis_admin.connect("nats://127.0.0.1:4222", actor="anna") as operator:
        page = await operator.jobs("state:dead queue:charge-payment")
        await operator.replay(page.rows[0], reason="gateway is back")

Reading answers from the projection, a file that `connect` brings up to date; a job's history comes from the stream. Every change
is an event with actor and reason, fenced by what was seen, and is in the audit log before it happens.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from pydantic import JsonValue
from trellis_nats import ConfigurationError, Options, Service
from trellis_nats._nats.connection import Connection
from trellis_nats.clock import now
from trellis_nats.errors import JobNotFound
from trellis_nats.ids import new_id
from trellis_nats.jobs.actions.edited_replay import EditedPayload, edited_replays
from trellis_nats.jobs.actions.job_actions import ActionDone, job_actions
from trellis_nats.jobs.model.admin_action import AdminAction
from trellis_nats.jobs.model.states import JobState

from trellis_admin.audit_log import (
    Action,
    AuditCounts,
    AuditLog,
    AuditPage,
    Kind,
    clean_text,
    count_audit,
    parse_audit_filter,
    read_audit,
)
from trellis_admin.bulk import BulkActions
from trellis_admin.keys import KeyActions
from trellis_admin.payloads import PayloadContract, Revealed, reveal_payload
from trellis_admin.projection import CaughtUp
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
    JobPlace,
    JobTarget,
    Session,
    default_actor,
    default_database,
    open_admin_connection,
)

__all__ = [
    "AmbiguousJob",
    "JobTarget",
    "Operator",
    "connect",
    "default_actor",
    "default_database",
    "open_admin_connection",
]

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

PYTHON: Final = "Python API"
_DONE: Final = {
    Action.CANCEL: "cancelled",
    Action.RETRY: "retried",
    Action.REPLAY: "replayed",
    Action.DISMISS: "dismissed",
}


@asynccontextmanager
async def connect(
    server: str,
    options: Options | None = None,
    *,
    actor: str | None = None,
    source: str = PYTHON,
    db: Path | None = None,
    contract: type[Service] | Service | None = None,
    progress: Progress = ignore_progress,
) -> AsyncGenerator[Operator]:
    """Connect to a server, bring the projection up to date, and provide what operators do.

    Args:
        server: the address; several with commas between them.
        options: credentials, TLS, the domain and prefixes of JetStream.
        actor: the person or program that acts; the default is the environment variable `TRELLIS_ACTOR`, else the user of the system.
        source: from where, for the audit log: `console`, `command line`, `Python API`, or `token <name>`.
        db: the file of the projection; the default is below the user's cache folder, one for each account of a server.
        contract: the class of a generated package, or a service with upcasters: what its workers would refuse is not replayed,
            and what its schemas call secret is not revealed.
        progress: called while the projection is brought up to date.

    Raises:
        CannotConnect: the server cannot be reached, or refuses the credentials.
        CannotRead: the account may not read the jobs.
        ProjectionProblem: the file of the projection cannot be used.
        TransportError: the server did not answer.
    """
    async with open_admin_connection(server, options or Options(open=True)) as connection:
        database = await default_database(connection) if db is None else db
        payloads = None if contract is None else PayloadContract.of(contract)
        operator = Operator(
            connection, database, actor=actor or default_actor(), source=source, contract=payloads
        )
        await operator.catch_up(progress)
        yield operator


class Operator:
    """What one actor reads and does. It is cheap to make: a web view has one for each person."""

    def __init__(
        self,
        connection: Connection,
        database: Path,
        *,
        actor: str,
        source: str,
        contract: PayloadContract | None = None,
    ) -> None:
        """Prepare. `database` is the file of the projection, which `catch_up` or another process brings up to date."""
        audit = AuditLog(connection, actor=actor, source=source)
        self.session: Final = Session(connection, database, audit)
        """The connection, the projection and the audit log."""
        self.contract: Final = contract
        """What says which payloads are valid and what in them is secret; None where that is not known."""
        self.bulk: Final = BulkActions(self.session, contract)
        """Actions on many jobs."""
        self.keys: Final = KeyActions(self.session)
        """Concurrency keys."""

    @property
    def actor(self) -> str:
        """The person or program that acts."""
        return self.session.audit.actor

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
        return await read_history(self.session.connection, place.prefix, place.id)

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

    async def count_audit(self) -> AuditCounts:
        """Return how many entries the audit log has, by kind. Raises as `audit_log`."""
        return await count_audit(self.session.connection)

    # --- acting on one job -----------------------------------------------------------------------------------------

    async def cancel(
        self, job: JobTarget, *, seen: int | None = None, reason: str | None = None
    ) -> ActionDone:
        """Cancel a job that waits or runs. A handler that runs sees it.

        Args:
            job: its id, or a row of a query.
            seen: the sequence up to which the caller has looked at it; the default is that of the row, if it is one. If the
                state of the job has changed since, nothing is done.
            reason: why, for the job's history and the audit log.

        Raises:
            ActionRefused: the job has ended, or has changed since it was seen. The text says how, and when.
            JobNotFound: there is no such job.
            AmbiguousJob: several queues have a job of this id.
            AdminResourceMissing: the account may not store the audit log. Nothing was done.
            WriteUnknown: no answer came; the job may be cancelled.
            TransportError: the server did not answer or refused.
        """
        return await self._act(Action.CANCEL, job, seen, reason, None)

    async def retry(
        self,
        job: JobTarget,
        *,
        seen: int | None = None,
        reason: str | None = None,
        deadline: timedelta | datetime | None = None,
    ) -> ActionDone:
        """Let a failed job begin again, with the stored payload and all its attempts. Raises as `cancel`.

        Args:
            job: see `cancel`.
            seen: see `cancel`.
            reason: see `cancel`.
            deadline: a new deadline, for a job whose deadline has passed; the default is the job's own.
        """
        return await self._act(Action.RETRY, job, seen, reason, deadline)

    async def replay(
        self,
        job: JobTarget,
        *,
        seen: int | None = None,
        reason: str | None = None,
        deadline: timedelta | datetime | None = None,
    ) -> ActionDone:
        """Let a dead job begin again, with the stored payload and all its attempts. As `retry`."""
        return await self._act(Action.REPLAY, job, seen, reason, deadline)

    async def dismiss(
        self, job: JobTarget, *, seen: int | None = None, reason: str | None = None
    ) -> ActionDone:
        """Put a dead job aside: it counts as dead no longer. As `cancel`."""
        return await self._act(Action.DISMISS, job, seen, reason, None)

    async def replay_edited(
        self,
        job: JobTarget,
        payload: bytes,
        *,
        seen: int | None = None,
        reason: str | None = None,
        deadline: timedelta | datetime | None = None,
        request_id: str | None = None,
    ) -> str:
        """Create a job with another payload instead of a dead one, which is dismissed. Return the id of the new job.

        Args:
            job: see `cancel`.
            payload: the new payload as JSON. It is stored as it is, so that integers stay exact.
            seen: see `cancel`.
            reason: see `cancel`.
            deadline: of the new job; the default is that of the dead one.
            request_id: names this request: repeated with the same, a call continues where it was interrupted.

        Raises:
            ConfigurationError: the contract of the queue is not known: pass `contract` to `connect`.
            InvalidPayload: the contract does not read the payload. Nothing was done.
            ActionRefused: the job is not dead, has changed since it was seen, or its deadline has passed.
            JobNotFound: there is no such job.
            AmbiguousJob: several queues have a job of this id.
            AdminResourceMissing: the account may not store the audit log. Nothing was done.
            TransportError: the server did not answer or refused.
        """
        place = await self._place(job, seen)
        if self.contract is None or not self.contract.has_queue(place.prefix):
            raise ConfigurationError(
                f"an edited payload is checked against the contract of its queue, and that of {place.prefix} is not known: "
                "name a generated package"
            )
        text = self.contract.validate(place.prefix, payload)
        target = _target(place)
        async with self.session.audit.action(Kind.JOB, Action.EDIT, target, reason=reason) as audited:
            new_id_ = await edited_replays(self.session.connection, place.prefix).replay(
                place.id,
                EditedPayload(text, self.contract.digest),
                self._by(reason),
                request_id=request_id or new_id(),
                seen=place.seen,
                deadline=deadline,
            )
            audited.done(f"replayed with an edited payload as job {new_id_}", job=new_id_)
        return new_id_

    async def reveal(self, job: JobTarget, *, reason: str | None = None) -> Revealed:
        """Return the payload of a job. The audit log has who saw it, before it is read.

        What the contract's schemas call secret (`writeOnly`, `x-sensitive`) is not in it, where the contract is known.

        Raises:
            JobNotFound: there is no such job, or its payload is no longer stored.
            AmbiguousJob: several queues have a job of this id.
            AdminResourceMissing: the account may not store the audit log. Nothing was read.
            TransportError: the server did not answer.
        """
        place = await self.session.find(job)
        target = _target(place)
        async with self.session.audit.action(Kind.PAYLOAD, Action.REVEAL, target, reason=reason) as audited:
            revealed = await reveal_payload(self.session.connection, place.prefix, place.id, self.contract)
            if revealed is None:
                raise JobNotFound(f"the payload of job {place.id} is no longer stored")
            audited.done("revealed", hidden=list(revealed.hidden))
        return revealed

    async def deny(
        self, kind: Kind, action: Action, target: Mapping[str, JsonValue], *, reason: str | None, why: str
    ) -> None:
        """Store that the actor attempted what their role does not allow.

        Raises:
            AdminResourceMissing: the account may not store the audit log.
            TransportError: the server did not answer.
        """
        await self.session.audit.deny(kind, action, target, reason=reason, why=why)

    # ---------------------------------------------------------------------------------------------------------------

    async def _act(
        self,
        action: Action,
        job: JobTarget,
        seen: int | None,
        reason: str | None,
        deadline: timedelta | datetime | None,
    ) -> ActionDone:
        place = await self._place(job, seen)
        actions, by = job_actions(self.session.connection, place.prefix), self._by(reason)
        async with self.session.audit.action(Kind.JOB, action, _target(place), reason=reason) as audited:
            match action:
                case Action.CANCEL:
                    done = await actions.cancel(place.id, by, seen=place.seen)
                case Action.RETRY:
                    done = await actions.retry(place.id, by, seen=place.seen, deadline=deadline)
                case Action.REPLAY:
                    done = await actions.replay(place.id, by, seen=place.seen, deadline=deadline)
                case _:
                    done = await actions.dismiss(place.id, by, seen=place.seen)
            audited.done(f"{_DONE[action]}; it was {done.previous}", sequence=done.sequence)
        return done

    async def _place(self, job: JobTarget, seen: int | None) -> JobPlace:
        place = await self.session.find(job)
        return place if seen is None else place._replace(seen=seen)

    def _by(self, reason: str | None) -> AdminAction:
        return AdminAction(
            actor=self.actor, reason=clean_text(reason or "") or None, source=self.session.audit.source
        )


def _target(place: JobPlace) -> dict[str, JsonValue]:
    return {"job": place.id, "queue": place.queue, "service": place.service, "seen": place.seen}
