"""Finds the jobs of a compiled filter, by the way that looks at the fewest rows.

Where one part of the filter has few jobs, these are read and everything is known about them. Otherwise jobs that match are
frequent, and a walk in the order of the list meets enough of them soon.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from trellis_admin.queries.compiling import Compiled, Condition, Finder, Pair, compile_filter, join
from trellis_admin.queries.filters import JobFilter

__all__ = ["Found", "count_pairs", "find_few", "match_rows", "read_changed", "walk_created"]

_FEW: Final = 50_000
_FEW_SEQUENCES: Final = 150_000
"""A job takes about four sequences."""
_ROW: Final = "created_seq, queue, state, state_seq"
_TOGETHER: Final = 100
"""How many SELECTs are joined at once: SQLite takes 500."""
_MOST: Final = 0.3
"""A walk over all jobs is quicker than one for each queue and state when these have more than this part of the jobs."""


class Found(NamedTuple):
    """A job that matches."""

    created_seq: int
    queue: int
    state: int
    state_seq: int


class _Way(NamedTuple):
    """A way to find the jobs, and about how many rows it looks at."""

    rows: int
    term: int | None = None
    """The term whose finders are used; without one, the range of creation or the pairs are."""
    by_pairs: bool = False


def find_few(db: sqlite3.Connection, compiled: Compiled) -> list[Found] | None:
    """Return all jobs that match; None where that would take too long because every part of the filter has many."""
    if compiled.is_by_pairs_only or not compiled.pairs:
        return None if compiled.pairs else []
    way = min(_list_ways(db, compiled), key=lambda way: way.rows)
    if way.rows > _FEW:
        return None
    if way.by_pairs:
        return [found for pair in compiled.pairs for found in _read_pair(db, compiled, pair)]
    parts = [compiled.in_pairs(), compiled.check(found_by=way.term), *_sequence_bounds(compiled, "+")]
    if way.term is not None:
        parts.append(_among(compiled.finders[way.term]))
    elif compiled.created is not None:
        parts.append(Condition("created_seq BETWEEN ? AND ?", compiled.created))
    where = join(parts)
    return [Found(*row) for row in db.execute(f"SELECT {_ROW} FROM job WHERE {where.sql}", where.values)]


def match_rows(db: sqlite3.Connection, job_filter: JobFilter) -> Condition:
    """Return a filter as a condition on rows of the table `job`, checked on each."""
    compiled = compile_filter(db, job_filter)
    parts = [compiled.in_pairs(), compiled.check(), *_sequence_bounds(compiled, "+")]
    if compiled.created is not None:
        parts.append(Condition("created_seq BETWEEN ? AND ?", compiled.created))
    return join(parts)


def walk_created(
    db: sqlite3.Connection,
    compiled: Compiled,
    condition: Condition,
    *,
    limit: int,
    is_ascending: bool = False,
) -> list[int]:
    """Return the first jobs that match in the order of their creation, by its sequence.

    Args:
        db: a connection of `connect_reader`.
        compiled: the filter.
        condition: checked in addition.
        limit: how many at most.
        is_ascending: whether the oldest come first.
    """
    if not compiled.pairs:
        return []
    direction = "ASC" if is_ascending else "DESC"
    bounds = [] if compiled.created is None else [Condition("created_seq BETWEEN ? AND ?", compiled.created)]
    ordered = _find_ordered(compiled)
    found: list[int] = []
    total = sum(pair.jobs for pair in compiled.pairs)
    if total <= _FEW or (ordered is None and not _is_most(db, compiled, total)):
        for pair in compiled.pairs:
            where = join([_of_pair(pair), compiled.check(), condition, *bounds])
            found += _read(db, f"job INDEXED BY job_state WHERE {where.sql}", where, direction, limit)
        return sorted(found, reverse=not is_ascending)[:limit]
    if ordered is None:
        where = join([compiled.in_pairs(), compiled.check(), condition, *bounds])
        return _read(db, f"job NOT INDEXED WHERE {where.sql}", where, direction, limit)
    term, finder = ordered
    by_index = Condition(finder.check.sql.removeprefix("+"), finder.check.values)
    where = join([by_index, compiled.in_pairs(), compiled.check(found_by=term), condition, *bounds])
    return _read(db, f"job INDEXED BY {finder.ordered_by} WHERE {where.sql}", where, direction, limit)


def read_changed(
    db: sqlite3.Connection, compiled: Compiled, condition: Condition, *, limit: int, is_ascending: bool
) -> list[tuple[int, int]]:
    """Return jobs that match in the order of their state sequences: these, and the sequences of their creation."""
    direction = "ASC" if is_ascending else "DESC"
    found: list[tuple[int, int]] = []
    for pair in compiled.pairs:
        where = join([_of_pair(pair), compiled.check(), condition, *_sequence_bounds(compiled)])
        found += db.execute(
            f"SELECT state_seq, created_seq FROM job INDEXED BY job_state_seq WHERE {where.sql} "
            f"ORDER BY state_seq {direction} LIMIT ?",
            (*where.values, limit),
        ).fetchall()
    return sorted(found, reverse=not is_ascending)[:limit]


def count_pairs(
    db: sqlite3.Connection, compiled: Compiled, pairs: Iterable[Pair], condition: Condition, *, limit: int
) -> int:
    """Return how many jobs of some pairs match, counted up to a limit."""
    number = 0
    for pair in pairs:
        where = join([_of_pair(pair), compiled.check(), condition, *_sequence_bounds(compiled)])
        if number < limit:
            number += _count(db, f"job INDEXED BY job_state_seq WHERE {where.sql}", where, limit - number)
    return number


def _list_ways(db: sqlite3.Connection, compiled: Compiled) -> Iterator[_Way]:
    total = sum(pair.jobs for pair in compiled.pairs)
    if compiled.changed is not None and total > _FEW:
        bounds = Condition("state_seq BETWEEN ? AND ?", compiled.changed)
        total = 0
        for pair in compiled.pairs:
            where = join([_of_pair(pair), bounds])
            if total <= _FEW:
                total += _count(db, f"job INDEXED BY job_state_seq WHERE {where.sql}", where, _FEW + 1)
    yield _Way(total, by_pairs=True)
    if compiled.created is not None:
        first, last = compiled.created
        yield _Way((last - first + 1) * _FEW // _FEW_SEQUENCES)
    for term, finders in enumerate(compiled.finders):
        rows = 0
        for finder in finders:
            if rows <= _FEW:
                counted = db.execute(
                    f"SELECT count(*) FROM ({finder.select.sql} LIMIT ?)", (*finder.select.values, _FEW + 1)
                ).fetchone()
                rows += int(counted[0])
        yield _Way(rows, term=term)


def _read_pair(db: sqlite3.Connection, compiled: Compiled, pair: Pair) -> Iterator[Found]:
    index = "job_state" if compiled.changed is None else "job_state_seq"
    where = join([_of_pair(pair), compiled.check(), *_sequence_bounds(compiled)])
    for row in db.execute(f"SELECT {_ROW} FROM job INDEXED BY {index} WHERE {where.sql}", where.values):
        yield Found(*row)


def _among(finders: list[Finder]) -> Condition:
    if not finders:
        return Condition("0")
    selects = [finder.select.sql for finder in finders]
    joined = [" UNION ALL ".join(selects[at : at + _TOGETHER]) for at in range(0, len(selects), _TOGETHER)]
    sql = joined[0] if len(joined) == 1 else " UNION ALL ".join(f"SELECT * FROM ({part})" for part in joined)
    return Condition(
        f"created_seq IN ({sql})", tuple(value for finder in finders for value in finder.select.values)
    )


def _find_ordered(compiled: Compiled) -> tuple[int, Finder] | None:
    """Return a term whose jobs an index has in the order of their creation."""
    for term, finders in enumerate(compiled.finders):
        if len(finders) == 1 and finders[0].ordered_by is not None:
            return term, finders[0]
    return None


def _is_most(db: sqlite3.Connection, compiled: Compiled, total: int) -> bool:
    if compiled.covers_all or compiled.is_by_pairs_only:
        return compiled.covers_all
    every: int = db.execute("SELECT sum(jobs) FROM counter").fetchone()[0]
    return total > _MOST * every


def _of_pair(pair: Pair) -> Condition:
    return Condition("queue = ? AND state = ?", (pair.queue, pair.state))


def _sequence_bounds(compiled: Compiled, sign: str = "") -> list[Condition]:
    """Return the bounds of state sequences as a condition; with a sign, without the use of an index."""
    if compiled.changed is None:
        return []
    return [Condition(f"{sign}state_seq BETWEEN ? AND ?", compiled.changed)]


def _read(db: sqlite3.Connection, source: str, where: Condition, direction: str, limit: int) -> list[int]:
    rows = db.execute(
        f"SELECT created_seq FROM {source} ORDER BY created_seq {direction} LIMIT ?", (*where.values, limit)
    )
    return [int(created) for (created,) in rows]


def _count(db: sqlite3.Connection, source: str, where: Condition, limit: int) -> int:
    counted: int = db.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM {source} LIMIT ?)", (*where.values, limit)
    ).fetchone()[0]
    return counted
