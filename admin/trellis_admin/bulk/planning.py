"""What a bulk action would do: the selection, how many jobs it has, and what would become of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from functools import partial
from time import monotonic
from typing import Final, NamedTuple

from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats.clock import now
from trellis_nats.errors import MalformedJobEvent
from trellis_nats.jobs.model.event import instant

from trellis_admin.bulk.changes import BulkProblem
from trellis_admin.bulk.record import BulkAction, DryCounts
from trellis_admin.bulk.runner import Selected
from trellis_admin.bulk.world import ALLOWED, read_opening, refuse_unknown, still_to_do
from trellis_admin.payloads import PayloadContract, find_contract
from trellis_admin.queries import (
    JobFilter,
    Selection,
    count_targets,
    list_queue_places,
    list_workers,
    parse_filter,
    read_pauses,
    read_status,
    select_targets,
)
from trellis_admin.queries.filters import Word
from trellis_admin.session import Session

__all__ = ["BulkPlan", "DryRun", "IdleQueue", "Refusal", "find_idle", "plan_bulk", "select_jobs"]

_STALE: Final = "a stale job does not run again: `trellis jobs recreate` creates a new one with its payload"
_CHECKED_MAX: Final = 2_000
_SECONDS: Final = 10.0
_PAGE: Final = 256
_EXAMPLES: Final = 5
_REASONS: Final = 20


class Refusal(NamedTuple):
    """A reason why jobs would be refused."""

    reason: str
    number: int
    examples: tuple[str, ...]
    """Ids of the first of these jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What would become of the selected jobs."""

    accepted: int
    """How many would be acted upon, of those that were checked."""
    refused: int
    expired: int
    """How many would be refused because their deadline has passed; of all selected jobs."""
    changed: int
    """How many of the jobs that the caller saw have changed since."""
    checked: int
    """How many payloads were read, of all selected jobs at most 2,000 within 10 s; all jobs where no payload has to be read."""
    is_complete: bool
    """Whether every job was checked."""
    reasons: tuple[Refusal, ...] = ()
    """The most frequent first, at most 20."""

    @property
    def counts(self) -> DryCounts:
        """The numbers alone, for the record of the bulk action."""
        return DryCounts(
            accepted=self.accepted, refused=self.refused, expired=self.expired, checked=self.checked
        )


class IdleQueue(NamedTuple):
    """A queue of selected jobs whose workers would not begin them."""

    queue: str
    """As `<service>/<queue>`."""
    jobs: int
    """How many of the selected jobs are of it."""
    why: str
    """For example `is paused by bob`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkPlan:
    """A bulk action that has not begun. Nothing has been changed."""

    action: BulkAction
    filter: JobFilter
    """With absolute times, and with the states that the action takes."""
    at: int
    """The sequence of stream JOBS at which the jobs were looked at."""
    count: int
    """How many jobs are selected."""
    dry_run: DryRun
    idle: tuple[IdleQueue, ...] = ()
    """Queues in which jobs that are sent again would wait."""


def select_jobs(action: BulkAction, text: str | JobFilter, at: datetime) -> JobFilter:
    """Return the filter of a bulk action: only jobs in states that the action takes match.

    Raises:
        FilterProblem: the filter cannot be read.
        BulkProblem: it asks for other states only.
    """
    wanted = parse_filter(text, at) if isinstance(text, str) else text
    allowed = ALLOWED[action]
    states = [state for state in allowed if state in wanted.states]
    if not states:
        asked = ", ".join(sorted(wanted.states)) or "states that exclude each other"
        way = f"; {_STALE}" if "state:stale" in wanted.text else ""
        raise BulkProblem(
            f"{action} takes jobs that are {' or '.join(allowed)}, and the filter asks for {asked}{way}"
        )
    return wanted if wanted.states <= set(states) else wanted.with_term(Word.STATE, *states)


async def plan_bulk(
    session: Session,
    action: BulkAction,
    text: str | JobFilter,
    *,
    at: int | None = None,
    seen_count: int | None = None,
    contracts: Sequence[PayloadContract] = (),
) -> BulkPlan:
    """Count what a bulk action would do, without doing it.

    Args:
        session: of the operator.
        action: what it would do.
        text: which jobs.
        at: the sequence at which the caller has looked at them; None for now.
        seen_count: how many the caller saw at that sequence.
        contracts: the workers of the one that has its queue have to read the payload of a job.

    Raises:
        FilterProblem: the filter cannot be read.
        BulkProblem: it asks for states that the action does not take.
        TransportError: the server did not answer.
    """
    began = now()
    wanted = select_jobs(action, text, began)
    await session.catch_up()
    newest = (await session.ask(read_status)).at
    selection = Selection(wanted, newest if at is None else min(at, newest))
    condition = still_to_do(action)
    count = await session.ask(count_targets, selection, condition=condition)
    expired = 0
    if action.sends:
        expired = await session.ask(count_targets, selection, overdue_at=began, condition=condition)
    changed = 0 if seen_count is None else max(0, seen_count - count)
    if not contracts or not action.sends:
        dry_run = DryRun(
            accepted=count - expired,
            refused=0,
            expired=expired,
            changed=changed,
            checked=count,
            is_complete=True,
        )
    else:
        dry_run = await _check_payloads(session, action, selection, contracts, count, expired, changed)
    return BulkPlan(action=action, filter=wanted, at=selection.at, count=count, dry_run=dry_run)


async def find_idle(session: Session, plan: BulkPlan) -> tuple[IdleQueue, ...]:
    """Return the queues in which jobs that are sent again would wait, because they are paused or have no worker.

    Raises:
        TransportError: the server did not answer.
    """
    if not plan.count or not plan.action.sends:
        return ()
    places = await session.ask(list_queue_places)
    pauses = await read_pauses(session.connection, [place.prefix for place in places])
    worked = {
        queue.prefix
        for worker in await session.ask(list_workers, now())
        if not (worker.is_silent or worker.is_stopping)
        for queue in worker.queues
    }
    idle: list[IdleQueue] = []
    for place in places:
        pause = pauses.get(place.prefix)
        if pause is None and place.prefix in worked:
            continue
        own = Selection(plan.filter.with_term(Word.QUEUE, place.prefix), plan.at)
        jobs = await session.ask(count_targets, own, condition=still_to_do(plan.action))
        if jobs:
            why = "has no worker" if pause is None else f"is paused by {pause.by}"
            idle.append(IdleQueue(f"{place.service}/{place.name}", jobs, why))
    return tuple(idle)


async def _check_payloads(
    session: Session,
    action: BulkAction,
    selection: Selection,
    contracts: Sequence[PayloadContract],
    count: int,
    expired: int,
    changed: int,
) -> DryRun:
    """Read the payloads of the selected jobs, as many as is bounded, and count why they would be refused."""
    due, after, checked, late = monotonic() + _SECONDS, 0, 0, 0
    reasons: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    while checked < _CHECKED_MAX and monotonic() < due:
        limit = min(_PAGE, _CHECKED_MAX - checked)
        targets = await session.ask(
            select_targets, selection, after=after, limit=limit, condition=still_to_do(action)
        )
        if not targets:
            break
        jobs = [Selected(target.prefix, target.id, target.state_sequence) for target in targets]
        judged = await bounded_gather(jobs, partial(_judge, session, action, contracts))
        for job, why in zip(jobs, judged, strict=True):
            if why is _Expired.PASSED:
                late += 1
            elif why is not None:
                reasons[why] += 1
                named = examples.setdefault(why, [])
                named += [job.job_id] if len(named) < _EXAMPLES else []
        checked += len(jobs)
        after = jobs[-1].state_sequence
    refused = reasons.total()
    return DryRun(
        accepted=checked - refused - late,
        refused=refused,
        expired=expired,
        changed=changed,
        checked=checked,
        is_complete=checked >= count,
        reasons=tuple(
            Refusal(why, number, tuple(examples[why])) for why, number in reasons.most_common(_REASONS)
        ),
    )


class _Expired(Enum):
    PASSED = auto()


async def _judge(
    session: Session, action: BulkAction, contracts: Sequence[PayloadContract], job: Selected
) -> str | _Expired | None:
    """Return why a job would be refused; None if it would not."""
    contract = find_contract(contracts, job.prefix)
    if contract is None and (why := refuse_unknown(action, job)) is not None:
        return why
    try:
        opened = await read_opening(session, job)
    except MalformedJobEvent as problem:
        return str(problem)
    if opened is None:
        return "its payload is not stored any longer"
    deadline = instant(opened.stored.event.deadline)
    if deadline is not None and deadline <= now():
        return _Expired.PASSED
    return None if contract is None else contract.refuse(job.prefix, opened.text, opened.stored.digest)
