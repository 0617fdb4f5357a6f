"""Turns filters into SQL: what finds jobs through an index, and what is checked on a row."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from trellis_admin.projection.arguments import hash_argument
from trellis_admin.projection.codes import MINUTE, STATE_CODES, to_milliseconds
from trellis_admin.queries.filters import JobFilter, Term, Word

__all__ = ["ALL", "Compiled", "Condition", "Finder", "Pair", "compile_filter", "join"]

Value = int | str | bytes

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{8}")
_HASH_PART: Final = re.compile(r"[0-9a-f]{8,64}")
_ID_PART: Final = re.compile(r"[A-Za-z0-9_-]{6,64}")
_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_WORD_OF_ERROR: Final = re.compile(r"\w+")
_BY_PAIRS: Final = frozenset({Word.QUEUE, Word.SERVICE, Word.STATE})
_LAST_CHARACTER: Final = "\U0010ffff"
_WORDS_MAX: Final = 1_000
"""How many workers or digests with one beginning are looked up."""
_EQUAL: Final = {
    Word.TRACE: ("trace_id",),
    Word.BULK: ("bulk",),
    Word.PARENT: ("parent_id", "root_id"),
}
"""The columns of words whose values are compared whole."""
_INDEXES: Final = {
    "trace_id": "job_trace",
    "bulk": "job_bulk",
    "parent_id": "job_parent",
    "root_id": "job_root",
    "key": "job_key",
    "worker": "job_worker",
    "actor": "job_actor",
    "digest": "job_digest",
    "error_type": "job_error_type",
    "fingerprint": "job_fingerprint",
}


class Pair(NamedTuple):
    """A queue and a state with jobs."""

    queue: int
    state: int
    jobs: int


class Condition(NamedTuple):
    """A condition on the table `job`."""

    sql: str
    values: tuple[Value, ...] = ()


ALL: Final = Condition("1")
"""It holds for every job."""


class Finder(NamedTuple):
    """One way to find the jobs of a value."""

    select: Condition
    """A SELECT of their `created_seq`, through an index."""
    check: Condition
    """The same, as a condition on a row that uses no index."""
    ordered_by: str | None = None
    """The index that has them in the order of their creation, if one has."""


@dataclass(slots=True)
class Compiled:
    """A filter as SQL."""

    pairs: list[Pair]
    """The queues and states in which jobs can match."""
    covers_all: bool
    """Whether every pair with jobs is among them, so that they need not be conditions."""
    created: tuple[int, int] | None = None
    """The first and the last sequence with which a job that matches can have been created; None for any."""
    changed: tuple[int, int] | None = None
    """Likewise, of the event that made its state."""
    finders: list[list[Finder]] = field(default_factory=list[list[Finder]])
    """For each term, the ways to find its jobs: a job matches that one of them finds."""
    checks: list[Condition] = field(default_factory=list[Condition])
    """All that is to be checked on a row, but the pairs and the terms with finders."""

    @property
    def is_by_pairs_only(self) -> bool:
        """Whether the pairs say everything, so that the counters count what matches."""
        return not self.finders and not self.checks

    def check(self, *, found_by: int | None = None) -> Condition:
        """Return what is to be checked on a row, but the pairs.

        Args:
            found_by: the term whose finders found the row.
        """
        terms = [
            _any([finder.check for finder in term]) for at, term in enumerate(self.finders) if at != found_by
        ]
        return join([*terms, *self.checks])

    def in_pairs(self) -> Condition:
        """Return the condition that a row is in one of the pairs."""
        if self.covers_all:
            return ALL
        listed = ", ".join(f"({pair.queue}, {pair.state})" for pair in self.pairs)
        return Condition(f"(+queue, +state) IN (VALUES {listed})") if listed else Condition("0")


def join(parts: Sequence[Condition]) -> Condition:
    """Return a condition that holds where all parts do."""
    sql = " AND ".join(part.sql for part in parts) or "1"
    return Condition(sql, tuple(value for part in parts for value in part.values))


def _any(parts: Sequence[Condition]) -> Condition:
    if not parts:
        return Condition("0")
    return Condition(
        f"({' OR '.join(part.sql for part in parts)})",
        tuple(value for part in parts for value in part.values),
    )


def compile_filter(db: sqlite3.Connection, job_filter: JobFilter) -> Compiled:
    """Return the SQL of a filter."""
    compiled = Compiled(*_list_pairs(db, job_filter))
    for term in job_filter.terms:
        if term.word in _BY_PAIRS:
            continue
        if term.word is Word.CREATED:
            compiled.checks.append(_in_time("created_at", term))
            compiled.created = _narrow(compiled.created, _sequences(db, term))
        elif term.word is Word.SINCE:
            compiled.checks.append(_in_time("state_at", term))
            compiled.changed = _narrow(compiled.changed, _sequences(db, term))
        else:
            compiled.finders.append([one for value in term.values for one in _find(db, term.word, value)])
    return compiled


def _list_pairs(db: sqlite3.Connection, job_filter: JobFilter) -> tuple[list[Pair], bool]:
    """Return the queues and states that have jobs and that the filter allows, and whether these are all with jobs."""
    rows = db.execute(
        "SELECT queue, state, jobs, name, service, prefix FROM counter JOIN queue ON number = queue WHERE jobs > 0"
    ).fetchall()
    states = {STATE_CODES[state] for state in job_filter.states}
    pairs = [
        Pair(queue, state, jobs)
        for queue, state, jobs, name, service, prefix in rows
        if state in states and _is_queue_allowed(job_filter, name, service, prefix)
    ]
    return pairs, len(pairs) == len(rows)


def _is_queue_allowed(job_filter: JobFilter, name: str, service: str, prefix: str) -> bool:
    for term in job_filter.terms:
        if term.word is Word.QUEUE and not {name, f"{service}/{name}", prefix} & {*term.values}:
            return False
        if term.word is Word.SERVICE and service not in term.values:
            return False
    return True


# --- times ---------------------------------------------------------------------------------------------------------


def _in_time(column: str, term: Term) -> Condition:
    checks = list[Condition]()
    if term.after is not None:
        checks.append(Condition(f"{column} >= ?", (to_milliseconds(term.after),)))
    if term.before is not None:
        checks.append(Condition(f"{column} < ?", (to_milliseconds(term.before),)))
    return join(checks)


def _sequences(db: sqlite3.Connection, term: Term) -> tuple[int, int]:
    """Return the sequences between which a state was made in a range of time. They are a little too wide."""
    bounds = list[Condition]()
    if term.after is not None:
        bounds.append(Condition("minute >= ?", (to_milliseconds(term.after) // MINUTE,)))
    if term.before is not None:
        bounds.append(Condition("minute <= ?", (to_milliseconds(term.before) // MINUTE,)))
    where = join(bounds)
    first, last = db.execute(
        f"SELECT min(first_seq), max(last_seq) FROM span WHERE {where.sql}", where.values
    ).fetchone()
    return (0, 0) if first is None else (first, last)


def _narrow(known: tuple[int, int] | None, other: tuple[int, int]) -> tuple[int, int]:
    return other if known is None else (max(known[0], other[0]), min(known[1], other[1]))


# --- words ---------------------------------------------------------------------------------------------------------


def _find(db: sqlite3.Connection, word: Word, value: str) -> list[Finder]:
    columns = _EQUAL.get(word)
    if columns is not None:
        return [_equal(column, value) for column in columns]
    match word:
        case Word.ID:
            return [_id(db, value)]
        case Word.KEY:
            return _keys(value)
        case Word.WORKER | Word.ACTOR:
            return _by_word(db, word, value)
        case Word.CONTRACT:
            return _by_word(db, "digest", value.removesuffix("*") + "*")
        case Word.ARGUMENT:
            return [_argument(db, value)]
        case Word.ERROR:
            return _errors(db, value)
        case _:
            return _text(db, value)


def _text(db: sqlite3.Connection, value: str) -> list[Finder]:
    found = [*_errors(db, value), *_keys(value)]
    if _ID_PART.fullmatch(value):
        found.append(_id(db, value))
    if _TRACE.fullmatch(value.lower()):
        found.append(_equal("trace_id", value.lower()))
    return found


def _id(db: sqlite3.Connection, value: str) -> Finder:
    prefix, dot, job_id = value.rpartition(".")
    if not dot:
        return _range("id", value, value + _LAST_CHARACTER)
    found = db.execute("SELECT number FROM queue WHERE prefix = ?", (prefix,)).fetchone()
    one = (job_id, -1 if found is None else int(found[0]))
    return Finder(
        Condition("SELECT created_seq FROM job WHERE id = ? AND queue = ?", one),
        Condition("(+id = ? AND +queue = ?)", one),
    )


def _argument(db: sqlite3.Connection, value: str) -> Finder:
    salt: bytes = db.execute("SELECT salt FROM checkpoint").fetchone()[0]
    name, _, scalar = value.partition("=")
    hashed = (hash_argument(salt, name, scalar),)
    return Finder(
        Condition("SELECT job FROM argument WHERE hash = ?", hashed),
        Condition("EXISTS (SELECT 1 FROM argument WHERE hash = ? AND argument.job = created_seq)", hashed),
    )


def _equal(column: str, value: Value) -> Finder:
    return Finder(
        Condition(f"SELECT created_seq FROM job WHERE {column} = ?", (value,)),
        Condition(f"+{column} = ?", (value,)),
        None if column == "fingerprint" else _INDEXES[column],
    )


def _range(column: str, first: str, after: str) -> Finder:
    # A range instead of LIKE, so that it is found in the index.
    return Finder(
        Condition(f"SELECT created_seq FROM job WHERE {column} >= ? AND {column} < ?", (first, after)),
        Condition(f"(+{column} >= ? AND +{column} < ?)", (first, after)),
    )


def _by_word(db: sqlite3.Connection, column: str, value: str) -> list[Finder]:
    beginning = value.removesuffix("*")
    if beginning == value:
        words = db.execute("SELECT number FROM word WHERE text = ?", (value,)).fetchall()
    else:
        words = db.execute(
            "SELECT number FROM word WHERE text >= ? AND text < ? LIMIT ?",
            (beginning, beginning + _LAST_CHARACTER, _WORDS_MAX),
        ).fetchall()
    numbers = [int(number) for (number,) in words]
    if len(numbers) <= 1:
        return [_equal(column, number) for number in numbers]
    listed = ", ".join(map(str, numbers))
    return [
        Finder(
            Condition(f"SELECT created_seq FROM job WHERE {column} IN ({listed})"),
            Condition(f"+{column} IN ({listed})"),
        )
    ]


def _keys(value: str) -> list[Finder]:
    beginning = value.removesuffix("*")
    found = [
        _equal("key", value) if beginning == value else _range("key", beginning, beginning + _LAST_CHARACTER)
    ]
    if _HASH_PART.fullmatch(value):
        found.append(_range("key_hash", value, value + "g"))
    return found


def _errors(db: sqlite3.Connection, value: str) -> list[Finder]:
    found = _by_word(db, "error_type", value)
    if _FINGERPRINT.fullmatch(value):
        found.append(_equal("fingerprint", int(value, 16)))
    words = _WORD_OF_ERROR.findall(value)
    if words:
        phrase = (f'"{" ".join(words)}"',)
        matching = "SELECT rowid FROM error_text WHERE error_text MATCH ?"
        found.append(Finder(Condition(matching, phrase), Condition(f"created_seq IN ({matching})", phrase)))
    return found
