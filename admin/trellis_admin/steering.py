"""What operators do with one job or one queue. Everything is in the audit log before it happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from pydantic import JsonValue
from trellis_nats import ConfigurationError
from trellis_nats.errors import JobNotFound
from trellis_nats.ids import new_id
from trellis_nats.jobs.actions.job_actions import ActionDone, job_actions
from trellis_nats.jobs.actions.replacement import EditedPayload, Replacements, replacements
from trellis_nats.jobs.model.admin_action import AdminAction
from trellis_nats.jobs.model.event import StoredEvent
from trellis_nats.jobs.pause import PauseResult, ResumeResult, pause_queue, resume_queue
from trellis_nats.jobs.stacks import JobStack, read_stack

from trellis_admin.audit_log import Action, Kind, clean_text
from trellis_admin.payloads import PayloadContract, Revealed, find_contract, reveal_job
from trellis_admin.queries import QueuePlace
from trellis_admin.session import JobPlace, JobTarget, Session

__all__ = ["Steering"]

_DONE: Final = {
    Action.CANCEL: "cancelled",
    Action.RETRY: "retried",
    Action.REPLAY: "replayed",
    Action.DISMISS: "dismissed",
    Action.EDIT: "replayed with an edited payload",
    Action.RECREATE: "created again",
}


@dataclass(slots=True)
class Steering:
    """The actions of one actor."""

    session: Session
    """The connection, the projection and the audit log."""
    contracts: Sequence[PayloadContract]
    """What says which payloads are valid and what in them is secret: for the job of a queue, the contract that has the queue."""

    # --- one job ---------------------------------------------------------------------------------------------------

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

        Where the contract is known, and its workers would refuse the payload, `ActionRefused` says why.

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
            JobNotEnqueued: the concurrency key of the new payload has no room. Nothing was done.
            JobNotFound: there is no such job.
            AmbiguousJob: several queues have a job of this id.
            AdminResourceMissing: the account may not store the audit log. Nothing was done.
            TransportError: the server did not answer or refused.
        """
        place = await self._place(job, seen)
        contract = self._require_contract(
            place, "an edited payload is checked against the contract of its queue"
        )
        edited = EditedPayload(contract.validate(place.prefix, payload), contract.digest)
        return await self._replace(
            Action.EDIT,
            place,
            contract,
            reason,
            lambda known, by: known.replay(
                place.id, edited, by, request_id=request_id or new_id(), seen=place.seen, deadline=deadline
            ),
        )

    async def recreate(
        self,
        job: JobTarget,
        *,
        seen: int | None = None,
        reason: str | None = None,
        deadline: timedelta | datetime | None = None,
        request_id: str | None = None,
    ) -> str:
        """Create a job with the stored payload of a stale one. Return the id of the new job, which names the stale one.

        Args:
            job: see `cancel`.
            seen: see `cancel`.
            reason: see `cancel`.
            deadline: of the new job; the default is that of the stale one.
            request_id: see `replay_edited`.

        Raises:
            ConfigurationError: the contract of the queue is not known: pass `contract` to `connect`.
            ActionRefused: the job is not stale, has been created again by another request, or its deadline has passed; or its
                payload is not stored any longer.
            JobNotEnqueued: its concurrency key has no room. Nothing was done.
            InvalidPayload: the stored payload has no concurrency key. Nothing was done.
            JobNotFound: there is no such job.
            AmbiguousJob: several queues have a job of this id.
            AdminResourceMissing: the account may not store the audit log. Nothing was done.
            TransportError: the server did not answer or refused.
        """
        place = await self._place(job, seen)
        contract = self._require_contract(
            place, "the contract of a queue has the limits of its concurrency keys"
        )
        return await self._replace(
            Action.RECREATE,
            place,
            contract,
            reason,
            lambda known, by: known.recreate(
                place.id, by, request_id=request_id or new_id(), seen=place.seen, deadline=deadline
            ),
        )

    async def reveal(self, job: JobTarget, *, reason: str | None = None) -> Revealed:
        """Return the payload, the result and the checkpoints of a job. The audit log has who saw them, before they are read.

        Where the contract is known, what its schemas call secret (`writeOnly`, `x-sensitive`) or do not declare is not in them. It has no
        schema for checkpoints, which therefore stay hidden.

        Raises:
            JobNotFound: there is no such job, or its payload is no longer stored.
            AmbiguousJob: several queues have a job of this id.
            AdminResourceMissing: the account may not store the audit log. Nothing was read.
            TransportError: the server did not answer.
        """
        place = await self.session.find(job)
        target = _target(place)
        async with self.session.audit.action(Kind.PAYLOAD, Action.REVEAL, target, reason=reason) as audited:
            revealed = await reveal_job(
                self.session.connection, place.prefix, place.id, self._find_contract(place)
            )
            if revealed is None:
                raise JobNotFound(f"the payload of job {place.id} is no longer stored")
            audited.done("revealed", hidden=list(revealed.hidden))
        return revealed

    async def stack(self, job: JobTarget) -> JobStack | None:
        """Return what the handler of a running job does now: files, lines and functions, no values.

        Nothing is changed or revealed, so it is not in the audit log. None: no process answered that it runs the job.

        Raises:
            JobNotFound: there is no such job.
            AmbiguousJob: several queues have a job of this id.
            PermissionDenied: the account may not ask.
            TransportError: there was no connection.
        """
        place = await self.session.find(job)
        return await read_stack(self.session.connection, place.service, place.queue, place.id)

    # --- one queue -------------------------------------------------------------------------------------------------

    async def pause(self, queue: str, *, reason: str | None = None) -> PauseResult:
        """Pause a queue for all its workers, within a second: nothing new begins, and what runs ends normally.

        Args:
            queue: its name, `<service>/<queue>`, or its publish prefix.
            reason: why; every view of the queue shows it.

        Raises:
            QueueProblem: there is no such queue, or several.
            ProvisioningError: the service has no bucket for the record.
            AdminResourceMissing: the account may not store the audit log. Nothing was done.
            PermissionDenied: the account may not pause the queue.
            TransportError: the server did not answer; the queue may be paused.
        """
        place = await self.session.find_queue(queue)
        async with self.session.audit.action(Kind.QUEUE, Action.PAUSE, _of(place), reason=reason) as audited:
            result = await pause_queue(
                self.session.connection,
                place.namespace,
                place.name,
                by=self.session.audit.actor,
                source=self.session.audit.source,
                reason=clean_text(reason or "") or None,
            )
            audited.done("paused" if result.is_new else f"it was paused already, by {result.pause.by}")
        return result

    async def resume(self, queue: str, *, reason: str | None = None) -> ResumeResult:
        """Let a paused queue go on, within a second. Raises as `pause`."""
        place = await self.session.find_queue(queue)
        async with self.session.audit.action(Kind.QUEUE, Action.RESUME, _of(place), reason=reason) as audited:
            result = await resume_queue(self.session.connection, place.namespace, place.name)
            is_missing = result.missing_bucket is not None
            nothing = "the bucket of pauses does not exist" if is_missing else "it was not paused"
            audited.done(nothing if result.removed is None else "resumed")
        return result

    # ---------------------------------------------------------------------------------------------------------------

    async def deny(
        self, kind: Kind, action: Action, target: Mapping[str, JsonValue], *, reason: str | None, why: str
    ) -> None:
        """Store that the actor attempted what their role does not allow.

        Raises:
            AdminResourceMissing: the account may not store the audit log.
            TransportError: the server did not answer.
        """
        await self.session.audit.deny(kind, action, target, reason=reason, why=why)

    async def _act(
        self,
        action: Action,
        job: JobTarget,
        seen: int | None,
        reason: str | None,
        deadline: timedelta | datetime | None,
    ) -> ActionDone:
        place = await self._place(job, seen)
        contract = self._find_contract(place)
        refuse = None if contract is None else partial(contract.refuse, place.prefix)
        actions = job_actions(self.session.connection, place.prefix, refuse_payload=refuse)
        by = self._by(reason)
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

    async def _replace(
        self,
        action: Action,
        place: JobPlace,
        contract: PayloadContract,
        reason: str | None,
        create: Callable[[Replacements, AdminAction], Awaitable[StoredEvent]],
    ) -> str:
        """Create a job instead of another one, and return its id."""
        async with self.session.audit.action(Kind.JOB, action, _target(place), reason=reason) as audited:
            connection = self.session.connection
            known = replacements(connection, place.prefix, creator=contract.creator(connection, place.prefix))
            created = (await create(known, self._by(reason))).event.job_id
            audited.done(f"{_DONE[action]} as job {created}", job=created)
        return created

    async def _place(self, job: JobTarget, seen: int | None) -> JobPlace:
        place = await self.session.find(job)
        return place if seen is None else place._replace(seen=seen)

    def _find_contract(self, place: JobPlace) -> PayloadContract | None:
        return find_contract(self.contracts, place.prefix)

    def _require_contract(self, place: JobPlace, why: str) -> PayloadContract:
        """Return the contract of a job's queue.

        Raises:
            ConfigurationError: it is not known.
        """
        contract = self._find_contract(place)
        if contract is None:
            raise ConfigurationError(
                f"{why}, and that of {place.prefix} is not known: name a generated package (`--contract PACKAGE`, in Python `contract=`)"
            )
        return contract

    def _by(self, reason: str | None) -> AdminAction:
        return AdminAction(
            actor=self.session.audit.actor,
            reason=clean_text(reason or "") or None,
            source=self.session.audit.source,
        )


def _target(place: JobPlace) -> dict[str, JsonValue]:
    return {"job": place.id, "queue": place.queue, "service": place.service, "seen": place.seen}


def _of(place: QueuePlace) -> dict[str, JsonValue]:
    return {"queue": place.name, "service": place.service}
