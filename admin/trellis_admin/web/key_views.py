"""Concurrency keys as the pages show them: holders of slots, their leases, and jobs that wait."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.requests import Request
from trellis_nats.errors import TransportError

from trellis_admin.audit_log import CannotRead
from trellis_admin.keys import Holder, KeyState, StoredKey
from trellis_admin.queries import KeyRow, QueueRow, list_keys
from trellis_admin.web.console import Console
from trellis_admin.web.links import path
from trellis_admin.web.text import duration, plural, rough_duration

__all__ = ["KeyLine", "KeyLines", "describe_keys", "describe_slots"]

_KEYS_MAX: Final = 50
_LOOKS: Final = {
    KeyState.BLOCKED: "stale",
    KeyState.HELD: "active",
    KeyState.WAITING: "pending",
    KeyState.FREE: "pending",
}
_WORDS: Final = {KeyState.WAITING: "free"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLine:
    """A slot of a key, or a key without a holder."""

    name: str
    hash: str
    address: str
    kind: KeyState
    word: str
    look: str
    """The job state that it looks like."""
    holder: str | None = None
    worker: str = ""
    since: str = ""
    lease: str = ""
    lease_share: float | None = None
    first_waiting: str | None = None
    waits: str = ""
    waiting: int = 0
    release: str = ""


@dataclass(frozen=True, slots=True)
class KeyLines:
    """The keys of a queue that are held or waited for."""

    lines: list[KeyLine]
    total: int
    blocked: int
    held: int


async def describe_keys(request: Request, queue: QueueRow) -> KeyLines:
    """Return the keys of a queue, blocked ones first. Where their records cannot be read, jobs say less about them."""
    console: Console = request.state.console
    rows = await console.query(list_keys, prefix=queue.prefix, limit=_KEYS_MAX)
    if not rows:
        return KeyLines([], 0, 0, 0)
    found = None
    if console.connection.is_connected:
        with suppress(CannotRead, TransportError):
            found = await console.operator(request.state.identity).keys.list_keys(
                queue.prefix, limit=_KEYS_MAX
            )
    if found is None or not found.keys:
        lines = [_from_row(request, row) for row in rows]
        return KeyLines(lines, len(lines), 0, sum(line.kind is KeyState.HELD for line in lines))
    lines = [describe_slots(request, queue, key)[0] for key in found.keys]
    return KeyLines(lines, found.total, found.blocked, found.held)


def describe_slots(request: Request, queue: QueueRow, key: StoredKey) -> list[KeyLine]:
    """Return a line for each slot of a key, expired ones first; one line for a key that no job holds."""
    now = datetime.now(UTC)
    holders = sorted(key.holders, key=lambda holder: not holder.is_expired)
    return [_line(request, queue, key, holder, now) for holder in holders or (None,)]


def _line(request: Request, queue: QueueRow, key: StoredKey, holder: Holder | None, now: datetime) -> KeyLine:
    place = {"service": queue.service, "queue": queue.queue, "key": key.key_hash}
    kind = key.state if holder is None else KeyState.BLOCKED if holder.is_expired else KeyState.HELD
    first = key.waiting[0] if key.waiting else None
    left = timedelta(0) if holder is None else holder.expires_at - now
    has_share = holder is not None and not holder.is_expired and holder.lease > timedelta(0)
    release = (
        f"{path(request, 'ask_key', **place)}?job={holder.job_id}"
        if holder is not None and holder.is_expired
        else ""
    )
    return KeyLine(
        name=key.key or key.key_hash[:12],
        hash=key.key_hash,
        address=path(request, "key", **place),
        kind=kind,
        word=_WORDS.get(kind, str(kind)),
        look=_LOOKS[kind],
        holder=None if holder is None else holder.job_id,
        worker="" if holder is None else holder.worker,
        since="" if holder is None else _since(holder, now),
        lease=""
        if holder is None
        else "lease ran out"
        if holder.is_expired
        else f"{duration(left)} left of {duration(holder.lease)}",
        lease_share=max(0.0, left / holder.lease) if holder is not None and has_share else None,
        first_waiting=None if first is None else first.job_id,
        waits=""
        if first is None
        else f"waits {rough_duration(now - first.since)}, {plural(len(key.waiting), 'job')} in all",
        waiting=len(key.waiting),
        release=release,
    )


def _since(holder: Holder, now: datetime) -> str:
    if holder.is_expired:
        return f"gone {rough_duration(now - holder.expires_at)}"
    return rough_duration(now - holder.since)


def _from_row(request: Request, key: KeyRow) -> KeyLine:
    kind = KeyState.HELD if key.running else KeyState.WAITING
    oldest = rough_duration(datetime.now(UTC) - key.oldest)
    return KeyLine(
        name=key.key or key.key_hash[:12],
        hash=key.key_hash,
        address=path(request, "key", service=key.service, queue=key.queue, key=key.key_hash),
        kind=kind,
        word=_WORDS.get(kind, str(kind)),
        look=_LOOKS[kind],
        waits=f"the first for {oldest}" if key.waiting else "",
        waiting=key.waiting,
    )
