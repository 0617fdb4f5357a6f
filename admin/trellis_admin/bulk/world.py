"""What a bulk action does to the stream and asks the projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from trellis_nats._nats.jetstream.bulk_reader import BulkReader
from trellis_nats._nats.jetstream.streams import (
    get_last_message,
    get_next_message_from_leader,
    get_stream_info,
)
from trellis_nats.clock import now, timestamp
from trellis_nats.errors import (
    ActionRefused,
    InvalidPayload,
    JobNotEnqueued,
    JobNotFound,
    MalformedJobEvent,
    MalformedKeyRecord,
    PayloadTooLarge,
)
from trellis_nats.jobs.actions.job_actions import ActionDone, JobActions, job_actions
from trellis_nats.jobs.actions.replacement import Replacements, replacements
from trellis_nats.jobs.model.admin_action import AdminAction
from trellis_nats.jobs.model.copied_event import StoredText
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.jobs.model.subjects import EVENTS_PREFIX, STREAM, JobSubjects
from trellis_nats.jobs.store.event_log import EventLog

from trellis_admin.audit_log import Action, AuditRecord, Kind, Outcome, Phase
from trellis_admin.bulk.record import BulkAction, BulkRecord, BulkState, Outcomes
from trellis_admin.bulk.runner import Acted, Fate, Selected
from trellis_admin.payloads import PayloadContract, find_contract
from trellis_admin.queries import (
    NOT_RECREATED,
    Selection,
    count_bulk_states,
    parse_filter,
    select_targets,
)
from trellis_admin.queries.compiling import ALL, Condition
from trellis_admin.session import Session

__all__ = [
    "AGAIN",
    "ALLOWED",
    "JobsWorld",
    "audit_record",
    "read_opening",
    "refuse_unknown",
    "still_to_do",
]

ALLOWED: Final = {
    BulkAction.CANCEL: (JobState.PENDING, JobState.RETRY, JobState.ACTIVE),
    BulkAction.RETRY: (JobState.FAILED,),
    BulkAction.REPLAY: (JobState.DEAD,),
    BulkAction.DISMISS: (JobState.DEAD,),
    BulkAction.RECREATE: (JobState.STALE,),
}
"""The states of the jobs that each action takes."""
AGAIN: Final = frozenset({JobState.DEAD, JobState.FAILED})
"""A job that was sent and is in one of these died again."""
_OPEN: Final = frozenset({JobState.PENDING, JobState.ACTIVE, JobState.RETRY})
_EVENTS: Final = {
    BulkAction.CANCEL: EventType.CANCELLED,
    BulkAction.RETRY: EventType.RETRIED,
    BulkAction.REPLAY: EventType.RETRIED,
    BulkAction.DISMISS: EventType.DISMISSED,
    BulkAction.RECREATE: EventType.CREATED,
}
_CHANGED: Final = ("changed", "state")
_OF_ONE_JOB: Final = (MalformedJobEvent, PayloadTooLarge, JobNotEnqueued, InvalidPayload, MalformedKeyRecord)
"""Errors that say nothing about the other jobs."""
_TIMEOUT: Final = timedelta(seconds=5)


@dataclass(slots=True)
class JobsWorld:
    """The jobs of stream JOBS."""

    session: Session
    contracts: Sequence[PayloadContract] = ()
    """A payload that the contract of its queue does not read is not sent. Where several have the queue, the first counts."""
    _actions: dict[str, JobActions] = field(default_factory=dict[str, JobActions])
    _replacements: dict[str, Replacements] = field(default_factory=dict[str, Replacements])

    async def find_roll_back(self, record: BulkRecord) -> str | None:
        """Return why the selection means other jobs than it did: sequences were used again for other messages."""
        info = await get_stream_info(self.session.connection, STREAM)
        match info:
            case {"state": {"last_seq": int(last)}} if last >= record.at:
                found = await get_next_message_from_leader(
                    self.session.connection, STREAM, f"{EVENTS_PREFIX}.>", record.at
                )
                is_other = (
                    record.at_stored is not None
                    and found is not None
                    and found.sequence == record.at
                    and timestamp(found.time) != timestamp(record.at_stored)  # the record has milliseconds
                )
            case _:
                is_other = True
        return (
            "stream JOBS was rolled back or made again since the jobs were selected: begin another bulk action"
            if is_other
            else None
        )

    async def select(self, record: BulkRecord, *, limit: int) -> Sequence[Selected]:
        """Return the next jobs of the selection, by the projection as of now."""
        await self.session.catch_up()
        selection = Selection(parse_filter(record.filter, record.created_at), record.at)
        targets = await self.session.ask(
            select_targets,
            selection,
            after=record.cursor,
            limit=limit,
            condition=still_to_do(record.action),
        )
        return [Selected(target.prefix, target.id, target.state_sequence) for target in targets]

    async def act(self, record: BulkRecord, job: Selected) -> Acted:
        """Act on a job as it was seen."""
        try:
            why = await self._refuse(record, job)
            if why is not None:
                return Acted(Fate.REFUSED, reason=why)
            if record.action is BulkAction.RECREATE:
                return await self._recreate(record, job)
            done = await self._act(record, job)
        except ActionRefused as refused:
            own = await self._find_own(record, job)
            if own is not None:
                return Acted(Fate.OURS, own)
            return Acted(Fate.CHANGED if refused.why in _CHANGED else Fate.REFUSED, reason=str(refused))
        except JobNotFound as missing:
            return Acted(Fate.CHANGED, reason=str(missing))
        except _OF_ONE_JOB as problem:
            return Acted(Fate.REFUSED, reason=str(problem))
        return Acted(Fate.SENT, done.sequence)

    async def count_events(self, record: BulkRecord, *, after: int) -> tuple[int, int]:
        """Count the events of the bulk action that follow a sequence."""
        found = last = 0
        filters = [f"{EVENTS_PREFIX}.*.*.*.{_EVENTS[record.action]}"]
        async with BulkReader(self.session.connection, STREAM, filters, after=after) as reader:
            while page := await reader.read():
                for stored in page:
                    if _is_own(record, stored.message.data):
                        found, last = found + 1, stored.sequence
        return found, last

    async def count_outcomes(self, record: BulkRecord) -> Outcomes:
        """Return what has become of the jobs that were sent, by the projection as of now."""
        await self.session.catch_up()
        states = await self.session.ask(count_bulk_states, record.id)
        return Outcomes(
            ended=sum(number for state, number in states.items() if state not in _OPEN),
            again=sum(number for state, number in states.items() if state in AGAIN),
        )

    async def report_end(self, record: BulkRecord) -> None:
        """Store in the audit log how the action ended."""
        text = f"{record.sent:,} sent, {record.refused:,} refused, {record.changed:,} had changed"
        if record.state is BulkState.ABORTED:
            text = f"aborted after {record.sent:,} of {record.count:,}; {text}"
        detail = {"sent": record.sent, "refused": record.refused, "changed": record.changed}
        await self.session.audit.store_outcome(
            audit_record(record), Outcome(Phase.DONE, text, record.ended_at or now(), dict(detail))
        )

    async def _refuse(self, record: BulkRecord, job: Selected) -> str | None:
        """Return why the contract of its queue does not allow to send a job."""
        if not record.action.sends:
            return None
        contract = find_contract(self.contracts, job.prefix)
        if contract is None:
            return refuse_unknown(record.action, job)
        opened = await read_opening(self.session, job)
        return None if opened is None else contract.refuse(job.prefix, opened.text, opened.stored.digest)

    async def _recreate(self, record: BulkRecord, job: Selected) -> Acted:
        """Create a stale job again. The bulk action is the request, so that there is one new job, however often it is asked for."""
        known = self._replacements.get(job.prefix)
        if known is None:
            connection, contract = self.session.connection, find_contract(self.contracts, job.prefix)
            creator = None if contract is None else contract.creator(connection, job.prefix)
            known = self._replacements[job.prefix] = replacements(connection, job.prefix, creator=creator)
        created = await known.recreate(job.job_id, _by(record), request_id=record.id, seen=job.state_sequence)
        return Acted(Fate.OURS, created.sequence)

    async def _act(self, record: BulkRecord, job: Selected) -> ActionDone:
        actions = self._actions.get(job.prefix)
        if actions is None:
            actions = self._actions[job.prefix] = job_actions(self.session.connection, job.prefix)
        by = _by(record)
        match record.action:
            case BulkAction.CANCEL:
                return await actions.cancel(job.job_id, by, seen=job.state_sequence)
            case BulkAction.RETRY:
                return await actions.retry(job.job_id, by, seen=job.state_sequence)
            case BulkAction.REPLAY:
                return await actions.replay(job.job_id, by, seen=job.state_sequence)
            case _:
                return await actions.dismiss(job.job_id, by, seen=job.state_sequence)

    async def _find_own(self, record: BulkRecord, job: Selected) -> int | None:
        """Return the sequence of the event by which this bulk action acted upon a job before."""
        subject = JobSubjects(job.prefix).event(job.job_id, _EVENTS[record.action])
        stored = await get_last_message(self.session.connection, STREAM, subject)
        return stored.sequence if stored is not None and _is_own(record, stored.data) else None


def still_to_do(action: BulkAction) -> Condition:
    """Return what jobs fulfil, in addition to the selection, that an action has still to act upon: a stale job stays stale."""
    return NOT_RECREATED if action is BulkAction.RECREATE else ALL


def refuse_unknown(action: BulkAction, job: Selected) -> str | None:
    """Return why a job is refused whose queue no known contract has; None if the action does not need one."""
    if action is not BulkAction.RECREATE:
        return None
    return f"no known contract has its queue, {job.prefix}, and so the limits of its key"


async def read_opening(session: Session, job: Selected) -> StoredText | None:
    """Return the newest event that has the payload of a job; None if there is none any longer.

    Raises:
        MalformedJobEvent: it cannot be read.
        TransportError: the server did not answer.
    """
    event_log = EventLog(session.connection, JobSubjects(job.prefix), digest="", timeout=_TIMEOUT)
    created, retried = await event_log.openings(job.job_id)
    openings = [opening for opening in (retried, created) if opening is not None]
    return next((opening for opening in openings if opening.stored.event.has_payload), None)


def audit_record(record: BulkRecord) -> AuditRecord:
    """Return the record that the audit log has of a bulk action."""
    return AuditRecord(
        id=record.id,
        kind=Kind.BULK,
        action=Action(record.action),
        actor=record.actor,
        source=record.source,
        target={"filter": record.filter, "at": record.at, "count": record.count},
        reason=record.reason,
        at=record.created_at,
    )


def _by(record: BulkRecord) -> AdminAction:
    return AdminAction(
        actor=record.actor, reason=record.reason or None, source=record.source, bulk_id=record.id
    )


def _is_own(record: BulkRecord, data: bytes) -> bool:
    """Return whether an event was written by a bulk action."""
    if record.id.encode() not in data:  # almost every other event: it need not be parsed
        return False
    event = LifecycleEvent.parse(data)
    admin = None if event is None else event.admin_action
    return isinstance(admin, dict) and admin.get("bulkId") == record.id
