"""Lists, counts and finds jobs."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from heapq import nlargest, nsmallest
from typing import Final

from trellis_nats.jobs.model.states import JobState

from trellis_admin.projection.codes import STATES
from trellis_admin.queries.compiling import ALL, Compiled, Condition, compile_filter, join
from trellis_admin.queries.filters import Word
from trellis_admin.queries.matching import Found, count_pairs, find_few, read_changed, walk_created
from trellis_admin.queries.reading import COLUMNS, read_row
from trellis_admin.queries.rows import Count, JobPage, JobRow, Target
from trellis_admin.queries.selection import Selection

__all__ = [
    "COUNTED_MAX",
    "Sort",
    "count_exactly",
    "count_jobs",
    "count_states",
    "find_jobs",
    "list_jobs",
    "list_overdue",
    "select_targets",
    "snapshot",
]

COUNTED_MAX: Final = 10_000
"""How far is counted where no counter has the number."""
_NO_LIMIT: Final = 2**62


class Sort(StrEnum):
    """The order of a list."""

    NEWEST = "newest"
    """By creation, the newest first."""
    OLDEST = "oldest"
    CHANGED = "changed"
    """By the event that made the state, the newest first."""


@contextmanager
def snapshot(db: sqlite3.Connection) -> Generator[int]:
    """Let the queries of a block see one state of the projection, and yield its sequence. Blocks may be nested."""
    if db.in_transaction:
        yield _sequence(db)
        return
    db.execute("BEGIN")
    try:
        yield _sequence(db)
    finally:
        db.execute("COMMIT")


def list_jobs(
    db: sqlite3.Connection,
    selection: Selection,
    *,
    before: int | None = None,
    limit: int = 50,
    sort: Sort = Sort.NEWEST,
) -> JobPage:
    """Return a page of a selection.

    Args:
        db: a connection of `connect_reader`.
        selection: which jobs.
        before: `JobPage.next` of the page before; None for the first page.
        limit: how many rows at most.
        sort: their order.
    """
    with snapshot(db) as sequence:
        compiled = compile_filter(db, selection.filter)
        few = find_few(db, compiled)
        if few is None:
            created = _walk(db, compiled, selection.at, before, limit + 1, sort)
            newer = _count_newer(db, compiled, selection.at, sequence)
            total = _count_many(db, compiled, selection.at, newer)
        else:
            unchanged = [found for found in few if found.state_seq <= selection.at]
            created = _cut(unchanged, before, limit + 1, sort)
            total, newer = _bounded(len(unchanged)), _bounded(len(few) - len(unchanged))
        rows = tuple(_read_rows(db, created[:limit]))
    last = rows[-1] if len(created) > limit and rows else None
    cursor = None if last is None else last.state_sequence if sort is Sort.CHANGED else last.created_sequence
    return JobPage(rows=rows, total=total, at=selection.at, newer=newer, next=cursor)


def count_jobs(db: sqlite3.Connection, selection: Selection) -> Count:
    """Return how many jobs a selection has."""
    with snapshot(db) as sequence:
        compiled = compile_filter(db, selection.filter)
        few = find_few(db, compiled)
        if few is not None:
            return _bounded(sum(found.state_seq <= selection.at for found in few))
        return _count_many(db, compiled, selection.at, _count_newer(db, compiled, selection.at, sequence))


def count_states(db: sqlite3.Connection, selection: Selection) -> Mapping[JobState, Count]:
    """Return how many jobs of a selection are in each state, whatever states its filter asks for."""
    with snapshot(db) as sequence:
        compiled = compile_filter(db, selection.filter.without(Word.STATE))
        few = find_few(db, compiled)
        if few is not None:
            counted = Counter(found.state for found in few if found.state_seq <= selection.at)
            return {state: _bounded(counted[code]) for code, state in enumerate(STATES)}
        by_state: dict[JobState, Count] = {}
        for code, state in enumerate(STATES):
            pairs = [pair for pair in compiled.pairs if pair.state == code]
            one = replace(compiled, pairs=pairs, covers_all=False)
            newer = _count_newer(db, one, selection.at, sequence)
            by_state[state] = _count_many(db, one, selection.at, newer)
        return by_state


def select_targets(
    db: sqlite3.Connection,
    selection: Selection,
    *,
    after: int = 0,
    limit: int,
    condition: Condition = ALL,
) -> list[Target]:
    """Return jobs of a selection, in the order of their state sequences.

    Args:
        db: a connection of `connect_reader`.
        selection: which jobs.
        after: only those whose state sequence is larger: that of the last target before.
        limit: how many at most.
        condition: one more that they fulfil.
    """
    with snapshot(db):
        compiled = compile_filter(db, selection.filter)
        if condition != ALL:
            compiled.checks.append(condition)
        few = find_few(db, compiled)
        if few is None:
            between = Condition("state_seq > ? AND state_seq <= ?", (after, selection.at))
            found = read_changed(db, compiled, between, limit=limit, is_ascending=True)
        else:
            found = nsmallest(
                limit,
                ((job.state_seq, job.created_seq) for job in few if after < job.state_seq <= selection.at),
            )
        rows = [
            db.execute(
                "SELECT prefix, id, state, state_seq FROM job JOIN queue ON number = queue WHERE created_seq = ?",
                (created,),
            ).fetchone()
            for _, created in found
        ]
    return [Target(prefix, job_id, STATES[state], sequence) for prefix, job_id, state, sequence in rows]


def count_exactly(db: sqlite3.Connection, selection: Selection, condition: Condition = ALL) -> int:
    """Return exactly how many jobs a selection has, however long that takes, that fulfil one more condition."""
    with snapshot(db):
        compiled = compile_filter(db, selection.filter)
        if condition != ALL:
            compiled.checks.append(condition)
        few = find_few(db, compiled)
        if few is not None:
            return sum(found.state_seq <= selection.at for found in few)
        unchanged = Condition("state_seq <= ?", (selection.at,))
        return count_pairs(db, compiled, compiled.pairs, unchanged, limit=_NO_LIMIT)


def find_jobs(db: sqlite3.Connection, job_id: str, *, limit: int = 20) -> list[JobRow]:
    """Return the jobs with an id, or whose ids begin with it: more than one where several queues have it, or it is short.

    Args:
        db: a connection of `connect_reader`.
        job_id: an id or its beginning; also a subject `<prefix>.<id>`.
        limit: how many at most. Exact matches come first.
    """
    if not job_id.isascii():
        return []
    prefix, dot, beginning = job_id.rpartition(".")
    with snapshot(db):
        rows = db.execute(
            f"SELECT {COLUMNS} WHERE id >= ? AND id < ? AND (? = '' OR prefix = ?) ORDER BY id LIMIT ?",
            (beginning, beginning + "\U0010ffff", prefix if dot else "", prefix, limit),
        ).fetchall()
        return [read_row(row) for row in rows]


def list_overdue(db: sqlite3.Connection, now: int, *, limit: int) -> list[Target]:
    """Return jobs that have not ended although their deadline has passed, the most overdue first.

    Args:
        db: a connection of `connect_reader`.
        now: in milliseconds since 1970.
        limit: how many at most.
    """
    rows = db.execute(
        "SELECT prefix, id, state, state_seq FROM job JOIN queue ON number = queue "
        "WHERE deadline <= ? AND state < 3 ORDER BY deadline LIMIT ?",
        (now, limit),
    ).fetchall()
    return [Target(prefix, job_id, STATES[state], sequence) for prefix, job_id, state, sequence in rows]


def _sequence(db: sqlite3.Connection) -> int:
    found: int = db.execute("SELECT sequence FROM checkpoint").fetchone()[0]
    return found


def _walk(
    db: sqlite3.Connection, compiled: Compiled, at: int, before: int | None, limit: int, sort: Sort
) -> list[int]:
    """Return the jobs of a page where many match, by the sequences of their creation."""
    if sort is Sort.CHANGED:
        bound = at if before is None else min(at, before - 1)
        changed = read_changed(
            db, compiled, Condition("state_seq <= ?", (bound,)), limit=limit, is_ascending=False
        )
        return [created for _, created in changed]
    is_ascending = sort is Sort.OLDEST
    parts = [Condition("+state_seq <= ?", (at,))]
    if before is not None:
        parts.append(Condition(f"created_seq {'>' if is_ascending else '<'} ?", (before,)))
    return walk_created(db, compiled, join(parts), limit=limit, is_ascending=is_ascending)


def _cut(found: Sequence[Found], before: int | None, limit: int, sort: Sort) -> list[int]:
    """Return the jobs of a page out of all that match."""
    is_by_state = sort is Sort.CHANGED
    keys = [(job.state_seq if is_by_state else job.created_seq, job.created_seq) for job in found]
    if sort is Sort.OLDEST:
        chosen = nsmallest(limit, (key for key in keys if before is None or key[0] > before))
    else:
        chosen = nlargest(limit, (key for key in keys if before is None or key[0] < before))
    return [created for _, created in chosen]


def _read_rows(db: sqlite3.Connection, created: Sequence[int]) -> list[JobRow]:
    return [
        read_row(db.execute(f"SELECT {COLUMNS} WHERE created_seq = ?", (sequence,)).fetchone())
        for sequence in created
    ]


def _count_newer(db: sqlite3.Connection, compiled: Compiled, at: int, sequence: int) -> Count:
    """Return how many jobs match and were changed after a sequence."""
    if at >= sequence:
        return Count(0)
    later = Condition("state_seq > ?", (at,))
    return _bounded(count_pairs(db, compiled, compiled.pairs, later, limit=COUNTED_MAX + 1))


def _count_many(db: sqlite3.Connection, compiled: Compiled, at: int, newer: Count) -> Count:
    """Return how many jobs match and were not changed after a sequence."""
    total = sum(pair.jobs for pair in compiled.pairs)
    if compiled.is_by_pairs_only and newer.is_exact:
        return Count(total - newer.number)
    unchanged = Condition("+state_seq <= ?", (at,))
    return _bounded(len(walk_created(db, compiled, unchanged, limit=COUNTED_MAX + 1)))


def _bounded(number: int) -> Count:
    return Count(min(number, COUNTED_MAX), number <= COUNTED_MAX)
