"""Lists, counts and finds jobs."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from heapq import nlargest, nsmallest
from typing import Final

from trellis_nats.jobs.model.states import JobState

from trellis_admin.projection.codes import STATES
from trellis_admin.queries.compiling import Compiled, Condition, Pair, compile_filter, join
from trellis_admin.queries.filters import Word
from trellis_admin.queries.reading import COLUMNS, read_row
from trellis_admin.queries.rows import Count, JobPage, JobRow, Target
from trellis_admin.queries.selection import Selection

__all__ = [
    "COUNTED_MAX",
    "Sort",
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
_ALL: Final = Condition("1")


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
    with snapshot(db):
        compiled = compile_filter(db, selection)
        found = _search(db, compiled, selection.at, before, limit + 1, sort)
        rows = tuple(read_row(row) for row in found[:limit])
        more = len(found) > limit
        total, newer = _count(db, compiled, selection.at)
    last = rows[-1] if more and rows else None
    cursor = None if last is None else last.state_sequence if sort is Sort.CHANGED else last.created_sequence
    return JobPage(rows=rows, total=total, at=selection.at, newer=newer, next=cursor)


def count_jobs(db: sqlite3.Connection, selection: Selection) -> Count:
    """Return how many jobs a selection has."""
    with snapshot(db):
        return _count(db, compile_filter(db, selection), selection.at)[0]


def count_states(db: sqlite3.Connection, selection: Selection) -> Mapping[JobState, Count]:
    """Return how many jobs of a selection are in each state, whatever states its filter asks for."""
    with snapshot(db):
        compiled = compile_filter(db, Selection(selection.filter.without(Word.STATE), selection.at))
        by_state = {state: Count(0) for state in STATES}
        for code, state in enumerate(STATES):
            pairs = [pair for pair in compiled.pairs if pair.state == code]
            if pairs:
                one = Compiled(
                    pairs,
                    compiled.is_by_pairs_only,
                    covers_all=False,
                    first=compiled.first,
                    last=compiled.last,
                    finding=compiled.finding,
                    checking=compiled.checking,
                )
                by_state[state] = _count(db, one, selection.at)[0]
        return by_state


def select_targets(
    db: sqlite3.Connection, selection: Selection, *, after: int = 0, limit: int
) -> list[Target]:
    """Return jobs of a selection, in the order of their state sequences.

    Args:
        db: a connection of `connect_reader`.
        selection: which jobs.
        after: only those whose state sequence is larger: that of the last target before.
        limit: how many at most.
    """
    with snapshot(db):
        compiled = compile_filter(db, selection)
        where = compiled.where()
        prefixes = dict(db.execute("SELECT number, prefix FROM queue").fetchall())
        found: list[tuple[int, int, str, int]] = []
        for pair in compiled.pairs:
            condition = join(
                [
                    Condition("queue = ? AND state = ?", (pair.queue, pair.state)),
                    Condition("state_seq > ? AND state_seq <= ?", (after, selection.at)),
                    where,
                ]
            )
            found += db.execute(
                f"SELECT state_seq, queue, id, state FROM job WHERE {condition.sql} ORDER BY state_seq LIMIT ?",
                (*condition.values, limit),
            ).fetchall()
    return [
        Target(prefixes[queue], job_id, STATES[state], sequence)
        for sequence, queue, job_id, state in nsmallest(limit, found)
    ]


def find_jobs(db: sqlite3.Connection, job_id: str, *, limit: int = 20) -> list[JobRow]:
    """Return the jobs with an id, or whose ids begin with it: more than one where several queues have it, or it is short.

    Args:
        db: a connection of `connect_reader`.
        job_id: an id or its beginning; also a subject `<prefix>.<id>`.
        limit: how many at most. Exact matches come first.
    """
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


def _search(
    db: sqlite3.Connection, compiled: Compiled, at: int, before: int | None, limit: int, sort: Sort
) -> Sequence[tuple[object, ...]]:
    """Return the rows of a page: from each queue and state the first ones, merged."""
    column = "state_seq" if sort is Sort.CHANGED else "created_seq"
    is_ascending = sort is Sort.OLDEST
    parts = [compiled.where(), Condition("state_seq <= ?", (at,))]
    if before is not None:
        parts.append(Condition(f"{column} {'>' if is_ascending else '<'} ?", (before,)))
    order = f"ORDER BY job.{column} {'ASC' if is_ascending else 'DESC'} LIMIT ?"
    if (compiled.covers_all or compiled.finding) and column == "created_seq":
        pairs = _ALL if compiled.covers_all else _in_pairs(compiled.pairs)
        where = join([*parts, pairs])
        return db.execute(f"SELECT {COLUMNS} WHERE {where.sql} {order}", (*where.values, limit)).fetchall()
    found: list[tuple[int, ...]] = []
    for pair in compiled.pairs:
        where = join([Condition("queue = ? AND state = ?", (pair.queue, pair.state)), *parts])
        found += db.execute(
            f"SELECT {column}, created_seq FROM job WHERE {where.sql} {order}", (*where.values, limit)
        ).fetchall()
    chosen = nsmallest(limit, found) if is_ascending else nlargest(limit, found)
    rows: list[tuple[object, ...]] = []
    for _, created in chosen:
        rows += db.execute(f"SELECT {COLUMNS} WHERE created_seq = ?", (created,)).fetchall()
    return rows


def _in_pairs(pairs: Sequence[Pair]) -> Condition:
    if not pairs:
        return Condition("0")
    listed = ", ".join(f"({pair.queue}, {pair.state})" for pair in pairs)
    return Condition(f"(+queue, +state) IN (VALUES {listed})")


def _count(db: sqlite3.Connection, compiled: Compiled, at: int) -> tuple[Count, Count]:
    """Return how many jobs match and were not changed after a sequence, and how many match and were."""
    newer = _count_rows(db, compiled, Condition("state_seq > ?", (at,)))
    if compiled.is_by_pairs_only and newer.is_exact:
        return Count(sum(pair.jobs for pair in compiled.pairs) - newer.number), newer
    return _count_rows(db, compiled, Condition("state_seq <= ?", (at,))), newer


def _count_rows(db: sqlite3.Connection, compiled: Compiled, condition: Condition) -> Count:
    where = compiled.where()
    number = 0
    if compiled.finding:
        parts = join([where, condition, _ALL if compiled.covers_all else _in_pairs(compiled.pairs)])
        number = _count_up_to(db, parts, COUNTED_MAX + 1)
    else:
        for pair in compiled.pairs:
            parts = join([Condition("queue = ? AND state = ?", (pair.queue, pair.state)), condition, where])
            number += _count_up_to(db, parts, COUNTED_MAX + 1 - number)
    return Count(min(number, COUNTED_MAX), number <= COUNTED_MAX)


def _count_up_to(db: sqlite3.Connection, where: Condition, limit: int) -> int:
    if limit <= 0:
        return 0
    found: int = db.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM job WHERE {where.sql} LIMIT ?)", (*where.values, limit)
    ).fetchone()[0]
    return found
