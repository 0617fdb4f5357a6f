"""Turns filters into SQL: conditions on the rows of jobs, and which index finds them soonest."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from trellis_admin.projection.arguments import hash_argument
from trellis_admin.projection.codes import MINUTE, STATE_CODES, to_milliseconds
from trellis_admin.queries.filters import JobFilter, Term, Word
from trellis_admin.queries.selection import Selection

__all__ = ["Compiled", "Condition", "Pair", "compile_filter", "list_pairs"]

Value = int | str | bytes

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{8}")
_HASH_PART: Final = re.compile(r"[0-9a-f]{8,64}")
_ID_PART: Final = re.compile(r"[A-Za-z0-9_-]{6,64}")
_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_WORD_OF_ERROR: Final = re.compile(r"\w+")

_EQUAL: Final = {
    Word.TRACE: ("trace_id",),
    Word.BULK: ("bulk",),
    Word.PARENT: ("parent_id", "root_id"),
}
"""The columns of words whose values are compared whole."""


class Pair(NamedTuple):
    """A queue and a state with jobs."""

    queue: int
    state: int
    jobs: int


class Condition(NamedTuple):
    """A condition on the table `job`."""

    sql: str
    values: tuple[Value, ...] = ()


@dataclass(slots=True)
class Compiled:
    """A filter as SQL."""

    pairs: list[Pair]
    """The queues and states in which jobs can match."""
    is_by_pairs_only: bool
    """Whether the pairs say everything, so that the counters count what matches."""
    covers_all: bool
    """Whether every pair with jobs is among them, so that they need not be conditions."""
    first: int = 0
    """No job that matches was created before this sequence."""
    last: int | None = None
    """Likewise, after; None where no time says so."""
    finding: list[Condition] = field(default_factory=list[Condition])
    """Conditions on sets of jobs, `created_seq IN (…)`, each with an index of its own."""
    checking: list[Condition] = field(default_factory=list[Condition])
    """Conditions that are checked on each row."""

    def where(self) -> Condition:
        """Return all conditions but the pairs."""
        parts = [*self.finding, *self.checking]
        if self.first:
            parts.append(Condition("created_seq >= ?", (self.first,)))
        if self.last is not None:
            parts.append(Condition("created_seq <= ?", (self.last,)))
        return join(parts)


def join(parts: Sequence[Condition]) -> Condition:
    """Return a condition that holds where all parts do."""
    sql = " AND ".join(part.sql for part in parts) or "1"
    return Condition(sql, tuple(value for part in parts for value in part.values))


def list_pairs(db: sqlite3.Connection, job_filter: JobFilter) -> tuple[list[Pair], bool]:
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
        if term.word is Word.QUEUE and name not in term.values and prefix not in term.values:
            return False
        if term.word is Word.SERVICE and service not in term.values:
            return False
    return True


def compile_filter(db: sqlite3.Connection, selection: Selection) -> Compiled:
    """Return the SQL of a filter. `Selection.at` is not part of it."""
    job_filter = selection.filter
    pairs, covers_all = list_pairs(db, job_filter)
    by_pairs = {Word.QUEUE, Word.SERVICE, Word.STATE}
    compiled = Compiled(pairs, all(term.word in by_pairs for term in job_filter.terms), covers_all)
    for term in job_filter.terms:
        if term.word in by_pairs:
            continue
        if term.word is Word.CREATED:
            _limit_created(db, compiled, term)
        elif term.word is Word.SINCE:
            compiled.checking.append(_since(term))
        else:
            compiled.finding.append(_find(db, term))
    return compiled


def _limit_created(db: sqlite3.Connection, compiled: Compiled, term: Term) -> None:
    """Add a range of creation times: as a range of sequences, which is a little too wide, and as a check on each row."""
    bounds, checks = list[Condition](), list[Condition]()
    if term.after is not None:
        at = to_milliseconds(term.after)
        bounds.append(Condition("minute >= ?", (at // MINUTE,)))
        checks.append(Condition("created_at >= ?", (at,)))
    if term.before is not None:
        at = to_milliseconds(term.before)
        bounds.append(Condition("minute <= ?", (at // MINUTE,)))
        checks.append(Condition("created_at < ?", (at,)))
    where = join(bounds)
    first, last = db.execute(
        f"SELECT min(first_seq), max(last_seq) FROM span WHERE {where.sql}", where.values
    ).fetchone()
    compiled.first = max(compiled.first, first or 0)
    compiled.last = min(last or 0, compiled.last if compiled.last is not None else last or 0)
    compiled.checking += checks


def _since(term: Term) -> Condition:
    checks = list[Condition]()
    if term.after is not None:
        checks.append(Condition("state_at >= ?", (to_milliseconds(term.after),)))
    if term.before is not None:
        checks.append(Condition("state_at < ?", (to_milliseconds(term.before),)))
    return join(checks)


def _find(db: sqlite3.Connection, term: Term) -> Condition:
    """Return the condition of a term: the union of the sets of its values."""
    parts = [part for value in term.values for part in _sets(db, term.word, value)]
    if not parts:
        return Condition("0")
    sql = " UNION ALL ".join(part.sql for part in parts)
    return Condition(f"created_seq IN ({sql})", tuple(value for part in parts for value in part.values))


def _sets(db: sqlite3.Connection, word: Word, value: str) -> list[Condition]:
    columns = _EQUAL.get(word)
    if columns is not None:
        return [_equal(column, value) for column in columns]
    match word:
        case Word.ID:
            return [_id(value)]
        case Word.KEY:
            return _keys(value)
        case Word.WORKER | Word.ACTOR:
            return [_by_word(word, value)]
        case Word.CONTRACT:
            return [_by_word("digest", value, is_beginning=True)]
        case Word.ARGUMENT:
            salt: bytes = db.execute("SELECT salt FROM checkpoint").fetchone()[0]
            name, _, scalar = value.partition("=")
            hashed = hash_argument(salt, name, scalar)
            return [Condition("SELECT job FROM argument WHERE hash = ?", (hashed,))]
        case Word.ERROR:
            return _errors(value)
        case _:
            return _text(value)


def _text(value: str) -> list[Condition]:
    found = _errors(value) + _keys(value)
    if _ID_PART.fullmatch(value):
        found.append(_id(value))
    if _TRACE.fullmatch(value.lower()):
        found.append(_equal("trace_id", value.lower()))
    return found


def _id(value: str) -> Condition:
    # A range instead of LIKE, so that it is found in the index.
    return Condition("SELECT created_seq FROM job WHERE id >= ? AND id < ?", (value, value + "\U0010ffff"))


def _equal(column: str, value: str) -> Condition:
    return Condition(f"SELECT created_seq FROM job WHERE {column} = ?", (value,))


def _by_word(column: str, value: str, *, is_beginning: bool = False) -> Condition:
    beginning = value.removesuffix("*")
    if is_beginning or beginning != value:
        words = Condition(
            "SELECT number FROM word WHERE text >= ? AND text < ?", (beginning, beginning + "\U0010ffff")
        )
    else:
        words = Condition("SELECT number FROM word WHERE text = ?", (value,))
    return Condition(f"SELECT created_seq FROM job WHERE {column} IN ({words.sql})", words.values)


def _keys(value: str) -> list[Condition]:
    beginning = value.removesuffix("*")
    found = [
        _equal("key", value)
        if beginning == value
        else Condition(
            "SELECT created_seq FROM job WHERE key >= ? AND key < ?", (beginning, beginning + "\U0010ffff")
        )
    ]
    if _HASH_PART.fullmatch(value):
        found.append(
            Condition(
                "SELECT created_seq FROM job WHERE key_hash >= ? AND key_hash < ?", (value, value + "g")
            )
        )
    return found


def _errors(value: str) -> list[Condition]:
    found = [_by_word("error_type", value)]
    if _FINGERPRINT.fullmatch(value):
        found.append(Condition("SELECT created_seq FROM job WHERE fingerprint = ?", (int(value, 16),)))
    words = _WORD_OF_ERROR.findall(value)
    if words:
        phrase = " ".join(words)
        found.append(Condition("SELECT rowid FROM error_text WHERE error_text MATCH ?", (f'"{phrase}"',)))
    return found
