"""Bulk actions and the audit log. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from trellis_nats._support.plural import plural
from trellis_nats.jobs.model.states import JobState

from trellis_admin.audit_log import AuditEntry
from trellis_admin.bulk import BulkPlan, BulkRecord, BulkState
from trellis_admin.terminal import Column, Table, show_age, show_instant
from trellis_admin.terminal.tables import clean

__all__ = [
    "describe_bulk",
    "describe_plan",
    "describe_progress",
    "suggest_next",
    "tabulate_audit",
    "tabulate_bulk",
]


def describe_plan(plan: BulkPlan) -> str:
    """Return what a bulk action would do."""
    return "\n".join(_plan(plan))


def _plan(plan: BulkPlan) -> Iterator[str]:
    dry = plan.dry_run
    yield f"{plan.action} {plural(plan.count, 'job')}: {plan.filter.text or 'all'}, as of sequence {plan.at:,}"
    if not plan.count:
        return
    checked = "all of them" if dry.is_complete else f"{dry.checked:,} of them"
    yield f"  checked      {checked}"
    yield f"  accepted     {dry.accepted:,}"
    if dry.refused:
        yield f"  refused      {dry.refused:,}"
    if dry.expired:
        yield f"  expired      {dry.expired:,}: their deadline has passed"
    if dry.changed:
        yield f"  changed      {dry.changed:,} since they were looked at: not among them"
    for idle in plan.idle:
        yield f"  would wait   {idle.jobs:,}: {idle.queue} {clean(idle.why)}"
    for refusal in dry.reasons:
        yield f"    {refusal.number:,}  {clean(refusal.reason)}  (as {', '.join(refusal.examples[:2])})"


def tabulate_bulk(records: Sequence[BulkRecord], now: datetime) -> Table:
    """Return bulk actions as a table."""
    table = Table(
        (
            Column("id"),
            Column("action"),
            Column("state"),
            Column("done", "right"),
            Column("refused", "right", is_minor=True),
            Column("began", is_minor=True),
            Column("by", is_minor=True),
            Column("reason", is_wide=True),
            Column("filter", is_wide=True),
        )
    )
    for record in records:
        table.add(
            record.id,
            record.action,
            record.state,
            f"{record.sent:,} of {record.count:,}",
            f"{record.refused:,}",
            show_age(record.created_at, now),
            record.actor,
            record.reason or "-",
            record.filter,
        )
    return table


def describe_progress(record: BulkRecord) -> str:
    """Return how far a bulk action is, on one line."""
    parts = [f"{record.action} {record.state}: {record.sent:,} of {record.count:,}"]
    if record.refused:
        parts.append(f"{record.refused:,} refused")
    if record.changed:
        parts.append(f"{record.changed:,} had changed")
    return ", ".join(parts)


def describe_bulk(
    record: BulkRecord, refusals: dict[str, str], states: Mapping[JobState, int], now: datetime
) -> str:
    """Return one bulk action, with the states in which the jobs are now that it sent."""
    return "\n".join(_bulk(record, refusals, states, now))


def _bulk(
    record: BulkRecord, refusals: dict[str, str], states: Mapping[JobState, int], now: datetime
) -> Iterator[str]:
    yield f"{record.id}  {describe_progress(record)}"
    yield f"  filter       {record.filter or 'all'}, as of sequence {record.at:,}"
    yield f"  by           {clean(record.actor)} ({clean(record.source)}), {show_age(record.created_at, now)}"
    if record.reason:
        yield f"  reason       {clean(record.reason)}"
    rate = "as fast as possible" if record.rate is None else f"{record.rate:g} a second"
    begin = "" if record.begin_with is None else f", began with {record.begin_with:,}"
    yield f"  rate         {rate}{begin}"
    if states:
        yield f"  jobs now     {', '.join(f'{states[state]:,} {state}' for state in JobState if state in states)}"
    if record.note:
        yield f"  note         {clean(record.note)}"
    if record.restarts:
        yield f"  restarts     {record.restarts}"
    if record.ended_at:
        yield f"  ended        {show_instant(record.ended_at)} UTC, {show_age(record.ended_at, now)}"
    shown = list(refusals.items())[:20]
    if shown:
        yield f"  refused      {record.refused:,}"
        yield from (f"    {job}: {clean(why)}" for job, why in shown)
        if len(refusals) > len(shown):
            yield f"    … and {len(refusals) - len(shown):,} more; --json has them"
    following = suggest_next(record)
    if following:
        yield following


def suggest_next(record: BulkRecord) -> str | None:
    """Return the command that follows, if there is one."""
    match record.state:
        case BulkState.WAITING:
            return (
                f"it waits: look at these jobs with `trellis jobs list bulk:{record.id}`\n"
                f"next: trellis bulk go-on {record.id}, or trellis bulk abort {record.id}"
            )
        case BulkState.PAUSED | BulkState.STOPPED:
            return f"next: trellis bulk go-on {record.id}, or trellis bulk abort {record.id}"
        case BulkState.RUNNING:
            return f"next: trellis bulk watch {record.id}; if no process runs it, trellis bulk resume {record.id}"
        case _:
            return None


def tabulate_audit(entries: Sequence[AuditEntry]) -> Table:
    """Return entries of the audit log as a table. Its times are absolute."""
    table = Table(
        (
            Column("time, UTC"),
            Column("actor"),
            Column("from", is_minor=True),
            Column("action"),
            Column("target", is_wide=True),
            Column("reason", is_wide=True),
            Column("outcome", is_wide=True),
        )
    )
    for entry in entries:
        record, outcome = entry.record, entry.outcome
        target = " ".join(f"{name}:{value}" for name, value in record.target.items() if value is not None)
        unknown = "not ended" if record.kind == "bulk" else "running, or its process died"
        ending = unknown if outcome is None else f"{outcome.phase}: {outcome.text}"
        table.add(
            show_instant(record.at).partition(".")[0],
            record.actor,
            record.source,
            f"{record.action} {record.kind}",
            target,
            record.reason or "-",
            ending.removesuffix(": "),
        )
    return table
