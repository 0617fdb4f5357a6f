"""Acts on single jobs of one queue. Each action is one event, fenced by the newest event of its job: one writer wins."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import Clock
from trellis_nats.errors import InvalidPayload, TransportError
from trellis_nats.errors.job import RefusedAction
from trellis_nats.ids import require_token
from trellis_nats.jobs.actions.new_deadline import deadline_at
from trellis_nats.jobs.actions.seen_job import SeenJob, SeenJobs
from trellis_nats.jobs.actions.wording import Action, refuse
from trellis_nats.jobs.keys.leave_key import leave_stored_key
from trellis_nats.jobs.model.admin_action import AdminAction
from trellis_nats.jobs.model.copied_event import CopiedEvent, CopiedMembers
from trellis_nats.jobs.model.event import NewEvent, StoredEvent, instant
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.jobs.model.subjects import JobSubjects
from trellis_nats.jobs.store.event_log import EventLog, WriteConflict
from trellis_nats.jobs.store.job_reader import JobReader

__all__ = ["REQUEST_TIMEOUT", "ActionDone", "JobActions", "RefusePayload", "job_actions"]

_log = logging.getLogger(__name__)

REQUEST_TIMEOUT: Final = timedelta(seconds=5)
"""How long a request of a program without the contract waits for its answer."""
_CANCELLABLE: Final = (JobState.PENDING, JobState.RETRY, JobState.ACTIVE)
_MANUAL_REPLAY: Final[JsonValue] = {"kind": "manualReplay"}

LeaveKey = Callable[[StoredEvent], Awaitable[None]]
"""Removes a job that will not begin from the record of its key, given its newest event."""
RefusePayload = Callable[[bytes, str], str | None]
"""Returns why a payload is not sent again, given the event that has it and the digest of its writer; None if it is."""


_Made = tuple[NewEvent | CopiedEvent, str | None]
"""An event, and the digest of the contract that wrote its payload; None: that of this process."""


class ActionDone(NamedTuple):
    """An action that is stored."""

    job_id: str
    event: EventType
    sequence: int
    """The sequence of its event in stream JOBS."""
    previous: JobState
    """The state of the job before."""
    state: JobState
    """The state of the job now."""
    events: Sequence[StoredEvent]
    """The events that were read, oldest first, and the new one. Without `seen`, they are all that a snapshot needs."""


class JobActions:
    """Acts on the jobs of one queue.

    Each action takes `seen`, the sequence of stream JOBS up to which its caller has looked at the job. If the job's state has
    changed after that, the action is refused. Without it, the action judges the job as it is now.
    """

    def __init__(
        self,
        event_log: EventLog,
        reader: JobReader,
        leave_key: LeaveKey,
        *,
        refuse_payload: RefusePayload | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._event_log = event_log
        self._seen_jobs = SeenJobs(event_log, reader)
        self._leave_key = leave_key
        self._refuse_payload = refuse_payload
        self._clock = clock or Clock()

    async def cancel(
        self, job_id: str, by: AdminAction, *, seen: int | None = None, error: str | None = None
    ) -> ActionDone:
        """Cancel a job that waits or runs. A handler that runs sees it, and what it returns no longer matters.

        `error` is stored as the job's last error; by default it is the reason.

        Raises:
            ActionRefused: the job has ended, or has changed since `seen`.
            JobNotFound: no event of the job is stored.
            MalformedJobEvent: the job's newest event cannot be read.
            WriteUnknown: no answer came; the cancellation may be stored.
            TransportError: NATS did not answer or refused; nothing was stored.
        """

        async def make(found: SeenJob) -> _Made:
            cancelled = found.identity.ended(
                EventType.CANCELLED,
                previous=found.state,
                tries=found.newest.event.tries,
                error=error or by.reason or "cancelled",
                at=self._clock.now(),
                admin=by.to_json(),
            )
            return cancelled, None

        done = await self._act(Action.CANCEL, job_id, _CANCELLABLE, seen, make)
        if done.previous is not JobState.ACTIVE:
            await self._try_to_leave_key(done.events[-1])
        return done

    async def retry(
        self,
        job_id: str,
        by: AdminAction,
        *,
        seen: int | None = None,
        deadline: timedelta | datetime | None = None,
    ) -> ActionDone:
        """Let a failed job begin again: with the payload that is stored, and all its attempts.

        A job of a queue with a concurrency key waits for a slot of its key, before new jobs, even where the key has no
        room for a new job.

        Args:
            job_id: the job.
            by: the person or program that acts, and why.
            seen: see the class.
            deadline: a new deadline: an instant, or a time from now. The default is the job's own.

        Raises:
            ActionRefused: the job has not failed, has changed since `seen`, or its deadline has passed; or its payload is
                not stored any longer, or is refused by the contract of the caller.
            ConfigurationError: the new deadline has passed, or is neither a datetime with a time zone nor a timedelta.
            JobNotFound: no event of the job is stored.
            MalformedJobEvent: the job's newest event cannot be read.
            WriteUnknown: no answer came; the event may be stored.
            TransportError: NATS did not answer or refused; nothing was stored.
        """
        return await self._send_again(Action.RETRY, job_id, by, (JobState.FAILED,), seen, deadline)

    async def replay(
        self,
        job_id: str,
        by: AdminAction,
        *,
        seen: int | None = None,
        deadline: timedelta | datetime | None = None,
    ) -> ActionDone:
        """Let a dead job begin again: with the payload that is stored, and all its attempts. As `retry` in all else."""
        return await self._send_again(Action.REPLAY, job_id, by, (JobState.DEAD,), seen, deadline)

    async def retry_or_replay(
        self, job_id: str, by: AdminAction, *, deadline: timedelta | datetime | None = None
    ) -> ActionDone:
        """Let a job begin again that failed or is dead. As `retry` in all else."""
        allowed = (JobState.FAILED, JobState.DEAD)
        return await self._send_again(Action.RETRY, job_id, by, allowed, None, deadline)

    async def dismiss(self, job_id: str, by: AdminAction, *, seen: int | None = None) -> ActionDone:
        """Put a dead job aside: it counts as dead no longer, and cannot be replayed.

        A failed job cannot be dismissed: other runtimes ignore a dismissal of it.

        Raises:
            ActionRefused: the job is not dead, or has changed since `seen`.
            JobNotFound: no event of the job is stored.
            MalformedJobEvent: the job's newest event cannot be read.
            WriteUnknown: no answer came; the dismissal may be stored.
            TransportError: NATS did not answer or refused; nothing was stored.
        """

        async def make(found: SeenJob) -> _Made:
            dismissed = found.identity.ended(
                EventType.DISMISSED,
                previous=found.state,
                tries=found.newest.event.tries,
                error=by.reason or found.decided.event.error or "dismissed",
                at=self._clock.now(),
                admin=by.to_json(),
            )
            return dismissed, None

        return await self._act(Action.DISMISS, job_id, (JobState.DEAD,), seen, make)

    async def _send_again(
        self,
        action: Action,
        job_id: str,
        by: AdminAction,
        allowed: Sequence[JobState],
        seen: int | None,
        deadline: timedelta | datetime | None,
    ) -> ActionDone:
        new_deadline = None if deadline is None else deadline_at(deadline, self._clock.now())

        async def make(found: SeenJob) -> _Made:
            copied = CopiedMembers.of(*await self._event_log.openings(job_id))
            now = self._clock.now()
            if copied is None:
                detail = "its payload is not stored any longer: create a new job"
                raise refuse(action, found.decided, found.state, why="payload", at=now, detail=detail)
            why = self._refuse_payload and self._refuse_payload(copied.text, copied.writer)
            if why:
                raise refuse(action, found.decided, found.state, why="payload", at=now, detail=why)
            own = instant(copied.deadline)
            if new_deadline is None and own is not None and own <= now:
                detail = (
                    f"its deadline {copied.deadline} has passed, and it would expire: give it a new deadline"
                )
                raise refuse(action, found.decided, found.state, why="deadline", at=now, detail=detail)
            retried = found.identity.retried(
                copied,
                previous=found.state,
                deadline=new_deadline or own,
                trigger=_MANUAL_REPLAY if found.state is JobState.DEAD else None,
                admin=by.to_json(),
                at=now,
            )
            return retried, copied.writer

        return await self._act(action, job_id, allowed, seen, make)

    # --- one fenced write ------------------------------------------------------------------------------------------

    async def _act(
        self,
        action: Action,
        job_id: str,
        allowed: Sequence[JobState],
        seen: int | None,
        make: Callable[[SeenJob], Awaitable[_Made]],
    ) -> ActionDone:
        """Store the event that `make` returns, and the digest of its payload's writer, if the job's state is allowed."""
        require_token("job id", job_id)
        while True:
            found = await self._seen_jobs.read(job_id, seen)
            why: RefusedAction = "changed" if seen is not None and found.decided.sequence > seen else "state"
            if why == "changed" or found.state not in allowed:
                at = self._clock.now()
                raise refuse(action, found.decided, found.state, why=why, at=at, allowed=allowed)
            event, writer = await make(found)
            try:
                sequence = await self._event_log.append(event, after=found.newest.sequence, writer=writer)
            except WriteConflict as conflict:
                fields = log_fields(LogEvent.WRITE_CONFLICT, job_id=job_id)
                _log.debug("%s; reading its events again", conflict, extra=fields)
                continue
            stored = StoredEvent(event.read(), sequence, None)
            return ActionDone(
                job_id,
                EventType(event.event_type),
                sequence,
                previous=found.state,
                state=stored.event.effective_state,
                events=(*found.events, stored),
            )

    async def _try_to_leave_key(self, cancelled: StoredEvent) -> None:
        """Remove a job that will never begin from its key's record. If that fails, the next job that needs room does."""
        event = cancelled.event
        try:
            await self._leave_key(cancelled)
        except (TransportError, InvalidPayload) as error:
            _log.warning(
                "job %s is cancelled, but still in the record of its key: %s",
                event.job_id,
                error,
                extra=log_fields(LogEvent.KEY_NOT_RELEASED, queue=event.job_type, job_id=event.job_id),
            )


def job_actions(
    connection: Connection,
    prefix: str,
    *,
    refuse_payload: RefusePayload | None = None,
    timeout: timedelta = REQUEST_TIMEOUT,
    clock: Clock | None = None,
) -> JobActions:
    """Return the actions on the jobs of a queue, for a program that does not have its contract.

    Args:
        connection: to the server.
        prefix: the queue's `publishPrefix`, under which the events of its jobs are published.
        refuse_payload: says which payloads are not sent again; None where none is refused.
        timeout: how long a request waits for its answer.
        clock: the clock by which jobs wait and expire.
    """
    subjects = JobSubjects(prefix)
    event_log = EventLog(connection, subjects, digest="", timeout=timeout)
    reader = JobReader(connection, subjects, event_log, queue=prefix.rpartition(".")[2])

    async def leave_key(cancelled: StoredEvent) -> None:
        opening = await event_log.latest_by_type(
            cancelled.event.job_id, (EventType.CREATED, EventType.RETRIED)
        )
        await leave_stored_key(connection, prefix, opening, timeout=timeout)

    return JobActions(event_log, reader, leave_key, refuse_payload=refuse_payload, clock=clock)
