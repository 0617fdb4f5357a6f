"""Runs a new job instead of one that has ended: of a dead one, with another payload; of a stale one, with the same."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple, cast

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats.clock import Clock
from trellis_nats.codec import JsonText
from trellis_nats.errors import ActionRefused
from trellis_nats.errors.configuration import require_text
from trellis_nats.errors.job import RefusedAction
from trellis_nats.ids import require_token
from trellis_nats.jobs.actions.job_actions import REQUEST_TIMEOUT, JobActions, job_actions
from trellis_nats.jobs.actions.new_deadline import deadline_at
from trellis_nats.jobs.actions.seen_job import SeenJob, SeenJobs
from trellis_nats.jobs.actions.wording import Action, refuse
from trellis_nats.jobs.keys.create import KeyedCreator, not_enqueued_error
from trellis_nats.jobs.keys.model.admission import Full
from trellis_nats.jobs.keys.model.event_fields import add_fields, stored_key
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.model.admin_action import AdminAction
from trellis_nats.jobs.model.copied_event import CopiedMembers
from trellis_nats.jobs.model.creation import derive_replacement_id
from trellis_nats.jobs.model.event import LifecycleEvent, NewEvent, StoredEvent, instant
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.lineage import origin_of
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.jobs.model.subjects import JobSubjects
from trellis_nats.jobs.store.event_log import EventLog, WriteConflict
from trellis_nats.jobs.store.job_reader import JobReader

__all__ = ["EditedPayload", "Replacements", "replacements"]


class EditedPayload(NamedTuple):
    """A payload that its caller has validated against the contract."""

    text: JsonText
    writer: str
    """The digest of that contract."""


class _Request(NamedTuple):
    action: Action
    by: AdminAction
    id: str
    """The same again for a repetition."""
    deadline: datetime | None
    """Of the new job; None for that of the old one."""


class _Draft(NamedTuple):
    event: NewEvent
    writer: str
    key: JobKey | None
    """The concurrency key, where it does not follow from the payload."""


class Replacements:
    """Creates new jobs instead of the dead and the stale ones of a queue.

    The id of the new job follows from the old one and from the event by which that ended. So there is at most one, however
    many operators ask for it, and however often one of them repeats that after a crash.
    """

    def __init__(
        self,
        event_log: EventLog,
        reader: JobReader,
        actions: JobActions,
        *,
        clock: Clock,
        creator: KeyedCreator | None = None,
    ) -> None:
        """Prepare. `creator` admits jobs to their keys, for a queue that has concurrency keys."""
        self._event_log = event_log
        self._reader = reader
        self._seen_jobs = SeenJobs(event_log, reader)
        self._actions = actions
        self._clock = clock
        self._creator = creator

    async def replay(
        self,
        job_id: str,
        payload: EditedPayload,
        by: AdminAction,
        *,
        request_id: str,
        seen: int | None = None,
        deadline: timedelta | datetime | None = None,
    ) -> StoredEvent:
        """Create a job with another payload instead of a dead one, and dismiss that. Return the event that created it.

        The new job has the attempts, the context and the lineage of the dead one, and names it in its trigger. If this call
        fails on the way, repeat it with the same `request_id`: it continues.

        Args:
            job_id: the dead job.
            payload: of the new job.
            by: the person or program that acts, and why.
            request_id: names this request; the same again for a repetition.
            seen: the sequence of stream JOBS up to which the caller has looked at the job.
            deadline: of the new job: an instant, or a time from now. The default is that of the dead one.

        Raises:
            ActionRefused: the job is not dead, has changed since `seen`, was replaced by another request, or its deadline
                has passed.
            JobNotEnqueued: the concurrency key of the new payload has no room; nothing was stored.
            InvalidPayload: the new payload has no concurrency key; nothing was stored.
            ConfigurationError: the new deadline has passed, or an argument is not a text.
            JobNotFound: no event of the job is stored.
            WriteUnknown: no answer came; the new job may be stored.
            TransportError: NATS did not answer or refused.
        """
        request = self._read_request(Action.REPLAY, job_id, by, request_id, deadline)
        found = await self._seen_jobs.read(job_id, seen)
        dead = self._death_of(found, seen)
        stored = await self._replace(found, dead, payload, request)
        is_own, new_id = _request_of(stored.event) == request_id, stored.event.job_id
        await self._dismiss(found, dead, new_id, by if is_own else AdminAction())
        if not is_own:
            raise self._refuse(found, "changed", f"job {new_id} had replaced it, by another request")
        return stored

    async def recreate(
        self,
        job_id: str,
        by: AdminAction,
        *,
        request_id: str,
        seen: int | None = None,
        deadline: timedelta | datetime | None = None,
    ) -> StoredEvent:
        """Create a job with the payload of a stale one. Return the event that created it.

        The new job has the payload, the attempts, the context and the lineage of the stale one, and names it in its trigger.
        Nothing is stored about the stale one: `stale` is its end for every reader.

        Args:
            job_id: the stale job.
            by: the person or program that acts, and why.
            request_id: names this request; the same again for a repetition.
            seen: the sequence of stream JOBS up to which the caller has looked at the job.
            deadline: of the new job: an instant, or a time from now. The default is that of the stale one.

        Raises:
            ActionRefused: the job is not stale, has been created again by another request, or its deadline has passed; its
                payload is not stored any longer; or this process does not have the contract of its concurrency key.
            JobNotEnqueued: the concurrency key has no room; nothing was stored.
            InvalidPayload: the payload has no concurrency key; nothing was stored.
            ConfigurationError: the new deadline has passed, or an argument is not a text.
            JobNotFound: no event of the job is stored.
            WriteUnknown: no answer came; the new job may be stored.
            TransportError: NATS did not answer or refused.
        """
        request = self._read_request(Action.RECREATE, job_id, by, request_id, deadline)
        found = await self._seen_jobs.read(job_id, seen)
        if found.state is not JobState.STALE:
            raise self._refuse(found, "state", action=Action.RECREATE)
        if seen is not None and found.decided.sequence > seen:
            raise self._refuse(found, "changed", action=Action.RECREATE)
        stored = await self._replace(found, found.decided, None, request)
        if _request_of(stored.event) != request_id:
            detail = f"another request had created job {stored.event.job_id} instead of it"
            raise self._refuse(found, "changed", detail, action=Action.RECREATE)
        return stored

    def _read_request(
        self,
        action: Action,
        job_id: str,
        by: AdminAction,
        request_id: str,
        deadline: timedelta | datetime | None,
    ) -> _Request:
        """Return what is asked for.

        Raises:
            ConfigurationError: an argument is not a text, or the deadline has passed.
        """
        require_token("job id", job_id)
        require_text("request_id", request_id)
        return _Request(
            action, by, request_id, None if deadline is None else deadline_at(deadline, self._clock.now())
        )

    async def _replace(
        self, found: SeenJob, ended: StoredEvent, payload: EditedPayload | None, request: _Request
    ) -> StoredEvent:
        """Create the new job, unless it is stored. Return the event that created it, which may be another request's."""
        old = ended.event
        new_id = derive_replacement_id(old.service, old.job_type, old.job_id, ended.sequence)
        stored = await self._event_log.newest_of(new_id, EventType.CREATED)
        if stored is not None:
            return stored
        if found.state is JobState.DISMISSED:
            raise self._refuse(found, "state")
        return await self._create(await self._draft(found, new_id, payload, request))

    def _death_of(self, found: SeenJob, seen: int | None) -> StoredEvent:
        """Return the event by which a job died. It may have been dismissed since: by this request, before it was interrupted.

        Raises:
            ActionRefused: the job is neither dead nor dismissed, or died after it was looked at.
        """
        if found.state is JobState.DEAD:
            if seen is not None and found.decided.sequence > seen:
                raise self._refuse(found, "changed")
            return found.decided
        died = [stored for stored in found.events if stored.event.event_type == EventType.DEAD]
        if found.state is not JobState.DISMISSED or not died:
            raise self._refuse(found, "state")
        return died[-1]

    def _refuse(
        self, found: SeenJob, why: RefusedAction, detail: str = "", *, action: Action = Action.REPLAY
    ) -> ActionRefused:
        now, allowed = self._clock.now(), JobState.DEAD if action is Action.REPLAY else JobState.STALE
        return refuse(action, found.decided, found.state, why=why, at=now, allowed=(allowed,), detail=detail)

    async def _draft(
        self, found: SeenJob, new_id: str, payload: EditedPayload | None, request: _Request
    ) -> _Draft:
        """Make the new job. Without a payload, it has that of the old one, and the key under which that was admitted."""
        now, old = self._clock.now(), found.decided.event
        created, retried = await self._event_log.openings(old.job_id)
        opened = retried or created
        copied = CopiedMembers.of(created, retried)
        own = None if copied is None else instant(copied.deadline)
        if request.deadline is None and own is not None and own <= now:
            detail = "its deadline has passed, and the new job would expire: give it a new deadline"
            raise self._refuse(found, "deadline", detail, action=request.action)
        if copied is not None and copied.concurrency is not None and self._creator is None:
            detail = "its queue has a concurrency key: that takes a program that has the contract"
            raise self._refuse(found, "key", detail, action=request.action)
        key = None
        if payload is None:
            if copied is None:
                detail = "its payload is not stored any longer: create a new job"
                raise self._refuse(found, "payload", detail, action=request.action)
            key = stored_key(copied.event) if copied.writer else None
            payload = EditedPayload(JsonText(copied.event.payload, copied.payload), copied.writer)
        identity = JobIdentity(
            job_id=new_id, service=old.service, queue=old.job_type, context=old.job_context()
        )
        root = old.job_id if opened is None else origin_of(opened.stored.event).root_id
        event = identity.created(
            payload.text.text,
            max_tries=None if copied is None else copied.max_tries,
            deadline=request.deadline or own,
            trigger={"kind": "manualReplay", "id": old.job_id, "requestId": request.id},
            lineage={"parentJobId": old.job_id, "rootJobId": root},
            at=now,
        )
        admin = request.by.to_json()
        return _Draft(add_fields(event, {"adminAction": admin}) if admin else event, payload.writer, key)

    async def _create(self, draft: _Draft) -> StoredEvent:
        """Store the new job, and return the event that is stored. It may be another request's.

        Raises:
            JobNotFound: it was stored, and cannot be read yet.
        """
        event = draft.event
        if self._creator is not None:
            key, outcome = await self._creator.create(
                event, strict=True, idempotent=True, key=draft.key, writer=draft.writer
            )
            if isinstance(outcome, Full):
                raise not_enqueued_error(key, outcome)
        else:
            with suppress(WriteConflict):
                await self._event_log.create(event, writer=draft.writer)
        # All requests use one message id, so that the server's answer does not show whose event is stored.
        newest = await self._reader.newest(event.job_id)
        return await self._event_log.newest_of(event.job_id, EventType.CREATED) or newest

    async def _dismiss(self, found: SeenJob, dead: StoredEvent, new_id: str, by: AdminAction) -> None:
        """Dismiss the dead job, and name the new one. If another action was faster, the new job is cancelled.

        Raises:
            ActionRefused: the job is not dead any longer, and is not dismissed in favour of the new one.
        """
        because = f": {by.reason}" if by.reason else ""
        reason = f"replaced by job {new_id}, which has an edited payload{because}"
        by = replace(by, reason=reason, replaced_by=new_id)
        try:
            await self._actions.dismiss(found.decided.event.job_id, by, seen=dead.sequence)
        except ActionRefused as refused:
            now = await self._seen_jobs.read(refused.job_id, None)
            if _replacement_of(now.decided.event) == new_id:
                return
            try:
                await self._actions.cancel(new_id, replace(by, reason=f"not needed: {refused}"))
            except ActionRefused as too_late:
                refused.add_note(
                    f"the edited job {new_id} had been created, and could not be taken back: {too_late}"
                )
            raise


def replacements(
    connection: Connection,
    prefix: str,
    *,
    creator: KeyedCreator | None = None,
    timeout: timedelta = REQUEST_TIMEOUT,
    clock: Clock | None = None,
) -> Replacements:
    """Return the replacements of a queue's jobs, for a program that does not have its generated package.

    Args:
        connection: to the server.
        prefix: the queue's `publishPrefix`, under which the events of its jobs are published.
        creator: admits jobs to their keys, for a queue that has concurrency keys.
        timeout: how long a request waits for its answer.
        clock: the clock by which jobs wait and expire.
    """
    subjects = JobSubjects(prefix)
    event_log = EventLog(connection, subjects, digest="", timeout=timeout)
    reader = JobReader(connection, subjects, event_log, queue=prefix.rpartition(".")[2])
    actions = job_actions(connection, prefix, timeout=timeout, clock=clock)
    return Replacements(event_log, reader, actions, clock=clock or Clock(), creator=creator)


def _request_of(created: LifecycleEvent) -> str | None:
    """Return the request that created a job instead of another one."""
    trigger = created.trigger if isinstance(created.trigger, dict) else {}
    return cast("str | None", trigger.get("requestId"))


def _replacement_of(dismissed: LifecycleEvent) -> str | None:
    """Return the job in favour of which a dead job was dismissed."""
    admin: dict[str, JsonValue] = dismissed.admin_action if isinstance(dismissed.admin_action, dict) else {}
    found = admin.get("replacedBy")
    return found if isinstance(found, str) and dismissed.event_type == EventType.DISMISSED else None
