"""Queues, workers and keys. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from trellis_nats._support.plural import plural
from trellis_nats.jobs.model.queue_pause import QueuePause

from trellis_admin.keys import KeyCount, KeyList, StoredKey
from trellis_admin.queries import HEARTBEAT_EVERY, QueueRow, WorkerRow
from trellis_admin.terminal import Column, Table, show_age, show_length, show_past
from trellis_admin.terminal.tables import clean

__all__ = [
    "describe_held",
    "describe_key",
    "describe_keys",
    "describe_pauses",
    "tabulate_key_counts",
    "tabulate_keys",
    "tabulate_queues",
    "tabulate_workers",
]

Pauses = Mapping[str, QueuePause]
"""By `<service>/<queue>`."""


def tabulate_queues(
    rows: Sequence[QueueRow], pauses: Pauses, now: datetime, held: Collection[str] = ()
) -> Table:
    """Return queues as a table. `held` names those that the server holds without a record."""
    table = Table(
        (
            Column("queue", is_place=True),
            Column("waiting", "right"),
            Column("oldest", "right"),
            Column("running", "right"),
            Column("retrying", "right", is_minor=True),
            Column("dead", "right"),
            Column("stale", "right"),
            Column("ended/min", "right", is_minor=True),
            Column("success", "right", is_minor=True),
            Column("run p95", "right", is_minor=True),
            Column("workers", "right"),
            Column("is"),
        )
    )
    for row in rows:
        name = f"{row.service}/{row.queue}"
        table.add(
            name,
            f"{row.waiting:,}",
            _length(None if row.oldest is None else now - row.oldest),
            f"{row.running} of {row.slots}",
            f"{row.retrying:,}",
            f"{row.dead:,}",
            f"{row.stale:,}" if row.stale else "-",
            f"{row.ended_per_minute:,.1f}",
            "-" if row.success is None else f"{row.success:.1%}",
            _length(row.run_p95),
            f"{row.workers}, {row.late_workers} late" if row.late_workers else row.workers,
            _describe_state(row, is_paused=name in pauses, is_held=name in held),
        )
    return table


def _describe_state(row: QueueRow, *, is_paused: bool, is_held: bool) -> str:
    if is_paused:
        return "paused"
    if is_held:
        return "held"
    return "no worker" if row.waiting and not row.workers else "open"


def describe_held(held: Collection[str]) -> list[str]:
    """Return which queues the server holds, although no record pauses them."""
    return [
        f"{name} is held by the server, and no record says who paused it: trellis queues resume {name} lets it go on"
        for name in held
    ]


def _length(length: timedelta | None) -> str:
    return "-" if length is None else show_length(max(length, timedelta(0)))


def describe_pauses(pauses: Pauses, now: datetime) -> list[str]:
    """Return who paused which queue, when and why."""
    return [
        f"{name} was paused {show_past(pause.since, now)} by {clean(pause.by)}"
        + (f": {clean(pause.reason)}" if pause.reason else "")
        for name, pause in sorted(pauses.items())
    ]


def tabulate_workers(rows: Sequence[WorkerRow], now: datetime) -> Table:
    """Return processes as a table."""
    table = Table(
        (
            Column("worker"),
            Column("service", is_minor=True),
            Column("is"),
            Column("heartbeat"),
            Column("running", "right"),
            Column("up", "right", is_minor=True),
            Column("loop lag", "right", is_minor=True),
            Column("memory", "right", is_minor=True),
            Column("host", is_minor=True),
            Column("contract", is_minor=True),
            Column("version", is_minor=True),
            Column("queues", is_wide=True),
        )
    )
    for row in rows:
        paused = all(queue.is_paused for queue in row.queues) and bool(row.queues)
        table.add(
            row.instance_id,
            row.service,
            _describe_worker(row, is_paused=paused),
            show_age(row.heartbeat_at, now),
            _describe_load(row, now),
            _length(_up(row, now)),
            _describe_lag(row.loop_lag),
            "-" if row.memory_bytes is None else f"{row.memory_bytes / 2**20:,.0f} MiB",
            "-" if row.host is None else f"{row.host}:{row.pid}",
            (row.digest or "-")[:8],
            row.version or "-",
            ", ".join(queue.queue for queue in row.queues),
        )
    return table


def _describe_worker(row: WorkerRow, *, is_paused: bool) -> str:
    if row.is_silent:
        return "silent"
    if row.is_stopping:
        return "stopped" if row.has_stopped else "stopping"
    if row.is_blocked:
        return "blocked"
    if row.is_late:
        return "late"
    return "paused" if is_paused else "alive"


def _up(row: WorkerRow, now: datetime) -> timedelta | None:
    """Return for how long a process has worked, or had when it stopped."""
    if row.started_at is None:
        return None
    return (row.heartbeat_at if row.has_stopped else now) - row.started_at


def _describe_lag(lag: timedelta | None) -> str:
    if lag is None or lag >= timedelta(seconds=10):
        return _length(lag)
    return f"{lag / timedelta(milliseconds=1):.0f} ms"


def _describe_load(row: WorkerRow, now: datetime) -> str:
    """Return how much a process runs, with the age of the number where a newer one should be there; what a silent one left."""
    if row.is_silent or row.has_stopped:
        return f"{row.running} left" if row.is_silent and row.running else "-"
    age = f", {show_age(row.heartbeat_at, now)}" if now - row.heartbeat_at > HEARTBEAT_EVERY else ""
    return f"{row.running} of {row.slots}{age}"


def tabulate_keys(keys: KeyList, now: datetime) -> Table:
    """Return concurrency keys as a table."""
    table = Table(
        (
            Column("key", is_wide=True),
            Column("hash", is_minor=True),
            Column("is"),
            Column("held", "right"),
            Column("waiting", "right"),
            Column("holder"),
            Column("since", is_minor=True),
            Column("lease ends", is_minor=True),
        )
    )
    for key in keys.keys:
        holder = key.holders[0] if key.holders else None
        table.add(
            key.key,
            key.key_hash[:12],
            key.state,
            f"{len(key.holders)} of {key.max_active}",
            len(key.waiting),
            holder.job_id if holder else "-",
            show_age(holder.since, now) if holder else "-",
            show_age(holder.expires_at, now) if holder else "-",
        )
    return table


def tabulate_key_counts(counts: Sequence[KeyCount]) -> Table:
    """Return the queues that have keys as a table."""
    table = Table(
        (
            Column("queue", is_place=True),
            Column("keys", "right"),
            Column("blocked", "right"),
            Column("held", "right"),
        )
    )
    for count in counts:
        more = "+" if count.is_cut else ""
        table.add(count.queue, f"{count.total:,}{more}", f"{count.blocked:,}", f"{count.held:,}")
    return table


def describe_keys(keys: KeyList) -> str:
    """Return how many keys there are, and how many of them are listed."""
    text = f"{len(keys.keys):,} of {plural(keys.total, 'key')} that jobs hold or wait for: {keys.blocked:,} blocked, {keys.held:,} held"
    if keys.is_cut:
        text += "; there are more records than were read"
    elif len(keys.keys) < keys.total:
        text += "; --limit shows more"
    return text


def describe_key(key: StoredKey, now: datetime) -> str:
    """Return one key: the jobs that hold it and those that wait for it."""
    return "\n".join(_key(key, now))


def _key(key: StoredKey, now: datetime) -> Iterator[str]:
    yield f"{clean(key.key)}  {key.state}, {len(key.holders)} of {key.max_active} slots"
    yield f"  queue        {key.namespace}/{key.queue}"
    yield f"  hash         {key.key_hash}"
    yield f"  takeovers    {key.takeovers}"
    for holder in key.holders:
        lease = "ran out" if holder.is_expired else "ends"
        yield (
            f"  held by      {holder.job_id}, attempt {holder.attempt}, on {clean(holder.worker)}, since "
            f"{show_age(holder.since, now)}; its lease {lease} {show_age(holder.expires_at, now)}"
        )
    for waiting in key.waiting:
        due = f", due {show_age(waiting.not_before, now)}" if waiting.not_before else ""
        yield f"  waits        {waiting.job_id}, since {show_age(waiting.since, now)}{due}"
    if key.state == "blocked":
        yield f"next: trellis keys release {key.namespace}/{key.queue} {key.key_hash[:12]}"
