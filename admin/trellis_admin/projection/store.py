"""Reads and writes the rows of the projection, inside a transaction of its file."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from trellis_admin.projection.codes import DELTA, MINUTE, STEPS
from trellis_admin.projection.fold import Changes, JobId
from trellis_admin.projection.incoming import JobPlace
from trellis_admin.projection.rows import Job, Worker

__all__ = ["Checkpoint", "Store"]

_WORDS_MAX: Final = 50_000
"""How many numbers of words are kept in memory."""
_OFTEN: Final = (
    "state",
    "state_seq",
    "last_seq",
    "updated_at",
    "state_at",
    "started_at",
    "ended_at",
    "next_at",
    "tries",
    "progress",
)
"""The columns that most events change. The indexes of the others are left alone where these alone changed."""
_SELDOM: Final = (
    "deadline",
    "max_tries",
    "error",
    "error_type",
    "fingerprint",
    "key",
    "key_hash",
    "worker",
    "digest",
    "trigger",
    "bulk",
    "actor",
)
_ONCE: Final = (
    "created_seq",
    "id",
    "queue",
    "created_at",
    "trace_id",
    "request_id",
    "parent_id",
    "root_id",
    "payload_bytes",
)
_WORDS: Final = frozenset({"error_type", "worker", "digest", "trigger", "actor"})
_FIELDS: Final = (*_ONCE, *_OFTEN, *_SELDOM)


def _assign(columns: Iterable[str]) -> str:
    return ", ".join(f"{column} = ?" for column in columns)


_INSERT: Final = f"INSERT INTO job ({', '.join(_FIELDS)}) VALUES ({', '.join('?' * len(_FIELDS))})"
_UPDATE_OFTEN: Final = f"UPDATE job SET {_assign(_OFTEN)} WHERE created_seq = ?"
_UPDATE_ALL: Final = f"UPDATE job SET {_assign((*_OFTEN, *_SELDOM))} WHERE created_seq = ?"


class Checkpoint(NamedTuple):
    """How far the stream was read."""

    stream_created: str
    """Which stream it was; empty before the first one."""
    sequence: int
    stored_at: int
    subject: str
    """Of the message at that sequence."""
    salt: bytes
    """Of the index of arguments. It is another one whenever the file is emptied."""


class _Before(NamedTuple):
    """What a row was before a page."""

    created_seq: int
    queue: int
    state: int
    error: str | None
    seldom: tuple[object, ...]


class Store:
    """The rows of one file. It keeps in memory only the numbers of words and queues."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._words: dict[str, int] = {}
        self._texts: dict[int, str] = {}
        self._queues: dict[str, int] = {}

    def forget(self) -> None:
        """Forget what is kept in memory: a transaction was rolled back, or another process wrote."""
        self._words.clear()
        self._texts.clear()
        self._queues.clear()

    def checkpoint(self) -> Checkpoint:
        """Return how far the stream was read."""
        row = self._connection.execute(
            "SELECT stream_created, sequence, stored_at, subject, salt FROM checkpoint"
        ).fetchone()
        return Checkpoint(*row)

    def load(self, places: Iterable[JobPlace]) -> tuple[Changes, dict[JobId, _Before]]:
        """Return the rows of the jobs of some events, and what has to be known of them when they are written."""
        before: dict[JobId, _Before] = {}
        jobs: dict[JobId, Job | None] = {}
        for prefix, job_id in dict.fromkeys((place.prefix, place.id) for place in places):
            queue = self._find_queue(prefix)
            row = None if queue is None else self._find_job(job_id, queue)
            if row is None or queue is None:
                jobs[prefix, job_id] = None
                continue
            job = self._read(prefix, row)
            jobs[prefix, job_id] = job
            before[prefix, job_id] = _Before(
                job.created_seq, queue, job.state, _error_text(job), _seldom(job)
            )
        return Changes(jobs), before

    def all_jobs(self) -> Iterator[Job]:
        """Yield every row, in the order of creation."""
        cursor = self._connection.execute(
            f"SELECT prefix, service, name, {', '.join(_FIELDS)} FROM job JOIN queue ON number = queue ORDER BY created_seq"
        )
        for prefix, *row in cursor:
            yield self._read(prefix, tuple(row))

    def load_workers(self, changes: Changes, keys: Iterable[tuple[str, str]]) -> None:
        """Add the heartbeats of some processes, by process and prefix."""
        for instance, prefix in dict.fromkeys(keys):
            row = self._connection.execute(
                "SELECT instance, prefix, service, queue, sequence, at, first_at, concurrency, version, extension "
                "FROM worker WHERE instance = ? AND prefix = ?",
                (instance, prefix),
            ).fetchone()
            if row is not None:
                changes.workers[instance, prefix] = Worker(*row)

    def save(self, changes: Changes, before: dict[JobId, _Before]) -> None:
        """Write what a page of events changed."""
        counts: Counter[tuple[int, int]] = Counter()
        inserted: list[Sequence[object]] = []
        often: list[Sequence[object]] = []
        everything: list[Sequence[object]] = []
        for job_id, job in changes.jobs.items():
            if job is None:
                continue
            known = before.get(job_id)
            queue = known.queue if known is not None else self._number_queue(job)
            counts[queue, job.state] += 1
            if known is not None:
                counts[queue, known.state] -= 1
            if known is not None and known.created_seq != job.created_seq:
                self._connection.execute("DELETE FROM job WHERE created_seq = ?", (known.created_seq,))
            self._save_error(known, job)
            if known is None or known.created_seq != job.created_seq:
                inserted.append([queue if name == "queue" else self._value(job, name) for name in _FIELDS])
            elif known.seldom == _seldom(job):
                often.append([*(self._value(job, name) for name in _OFTEN), job.created_seq])
            else:
                everything.append(
                    [*(self._value(job, name) for name in (*_OFTEN, *_SELDOM)), job.created_seq]
                )
        self._connection.executemany(_INSERT, inserted)
        self._connection.executemany(_UPDATE_OFTEN, often)
        self._connection.executemany(_UPDATE_ALL, everything)
        self.count(counts)
        self._save_rest(changes)

    def count(self, counts: Counter[tuple[int, int]]) -> None:
        """Change how many jobs each queue has in each state."""
        self._connection.executemany(
            "INSERT INTO counter (queue, state, jobs) VALUES (?, ?, ?) "
            "ON CONFLICT (queue, state) DO UPDATE SET jobs = jobs + excluded.jobs",
            [(*key, number) for key, number in counts.items() if number],
        )

    def move(self, *, sequence: int, stored_at: int, subject: str, malformed: int) -> None:
        """Move the checkpoint to a message."""
        self._connection.execute(
            "UPDATE checkpoint SET sequence = ?, stored_at = ?, subject = ?, "
            "last_sequence = max(last_sequence, ?), malformed = malformed + ?",
            (sequence, stored_at, subject, sequence, malformed),
        )

    def drop(self, jobs: Sequence[tuple[int, int, int, str | None]], at: int) -> None:
        """Remove jobs that the stream does not have any more, at an instant.

        Args:
            jobs: their sequences, queues, states, and the text of their errors in the index of words.
            at: in milliseconds since 1970.
        """
        execute, minute = self._connection.executemany, at // MINUTE
        execute("DELETE FROM job WHERE created_seq = ?", [(job[0],) for job in jobs])
        execute(
            "INSERT INTO error_text (error_text, rowid, text) VALUES ('delete', ?, ?)",
            [(job[0], job[3]) for job in jobs if job[3] is not None],
        )
        counts = Counter({(queue, state): 0 for _, queue, state, _ in jobs})
        counts.subtract((queue, state) for _, queue, state, _ in jobs)
        self.count(counts)
        # The history of a state, counted back from now, needs to know that they left it.
        self._add_series(Counter({(queue, minute, DELTA + state): n for (queue, state), n in counts.items()}))

    # --- rows ------------------------------------------------------------------------------------------------------

    def _find_job(self, job_id: str, queue: int) -> tuple[Any, ...] | None:
        """Return the row of a job. Any: SQLite gives rows without types."""
        row: tuple[Any, ...] | None = self._connection.execute(
            f"SELECT service, name, {', '.join(_FIELDS)} FROM job JOIN queue ON number = queue WHERE id = ? AND queue = ?",
            (job_id, queue),
        ).fetchone()
        return row

    def _read(self, prefix: str, row: tuple[Any, ...]) -> Job:
        values: dict[str, Any] = dict(zip(_FIELDS, row[2:], strict=True))
        for name in _WORDS:
            if values[name] is not None:
                values[name] = self._find_text(values[name])
        values["queue"] = row[1]
        return Job(prefix=prefix, service=row[0], **values)

    def _value(self, job: Job, name: str) -> object:
        value: object = getattr(job, name)
        return self._number_word(value) if name in _WORDS and isinstance(value, str) else value

    def _save_error(self, known: _Before | None, job: Job) -> None:
        """Keep the index of words in step with the errors."""
        text = _error_text(job)
        if known is not None:
            if known.error == text and known.created_seq == job.created_seq:
                return
            if known.error is not None:
                self._connection.execute(
                    "INSERT INTO error_text (error_text, rowid, text) VALUES ('delete', ?, ?)",
                    (known.created_seq, known.error),
                )
        if text is not None:
            self._connection.execute(
                "INSERT INTO error_text (rowid, text) VALUES (?, ?)", (job.created_seq, text)
            )

    def _save_rest(self, changes: Changes) -> None:
        execute = self._connection.executemany
        series: Counter[tuple[int, int, int]] = Counter()
        for (prefix, minute, kind), number in changes.series.items():
            queue = self._find_queue(prefix)
            if queue is not None:
                series[queue, minute, kind] += number
        self._add_series(series)
        execute(
            "INSERT INTO span VALUES (?, ?, ?) ON CONFLICT (minute) DO UPDATE SET "
            "first_seq = min(first_seq, excluded.first_seq), last_seq = max(last_seq, excluded.last_seq)",
            [(minute, *bounds) for minute, bounds in changes.spans.items()],
        )
        # In the order of the index, neighbours share its pages.
        execute(
            "INSERT OR IGNORE INTO argument VALUES (?, ?)",
            sorted((hashed, job) for job, hashes in changes.arguments.items() for hashed in hashes),
        )
        execute(
            "INSERT OR IGNORE INTO pattern VALUES (?, ?, ?)",
            [(number, pattern.error_type, pattern.text) for number, pattern in changes.patterns.items()],
        )
        execute(
            "INSERT OR REPLACE INTO worker (instance, prefix, service, queue, sequence, at, first_at, concurrency, "
            "version, extension) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(
                        worker.instance,
                        worker.prefix,
                        worker.service,
                        worker.queue,
                        worker.sequence,
                        worker.at,
                    ),
                    *(worker.first_at, worker.concurrency, worker.version, worker.extension),
                )
                for worker in changes.workers.values()
            ],
        )

    def _add_series(self, series: Counter[tuple[int, int, int]]) -> None:
        steps: Counter[tuple[int, int, int, int]] = Counter()
        for (queue, minute, kind), number in series.items():
            for step, _ in STEPS:
                steps[step, minute - minute % step, queue, kind] += number
        self._connection.executemany(
            "INSERT INTO series (step, at, queue, kind, number) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (step, at, queue, kind) DO UPDATE SET number = number + excluded.number",
            [(*key, number) for key, number in steps.items() if number],
        )

    # --- names -----------------------------------------------------------------------------------------------------

    def _find_queue(self, prefix: str) -> int | None:
        number = self._queues.get(prefix)
        if number is None:
            row = self._connection.execute("SELECT number FROM queue WHERE prefix = ?", (prefix,)).fetchone()
            if row is None:
                return None
            number = int(row[0])
            self._queues[prefix] = number
        return number

    def _number_queue(self, job: Job) -> int:
        number = self._find_queue(job.prefix)
        if number is None:
            self._connection.execute(
                "INSERT INTO queue (prefix, service, name) VALUES (?, ?, ?)",
                (job.prefix, job.service, job.queue),
            )
            number = self._find_queue(job.prefix)
        return number or 0

    def _number_word(self, text: str) -> int:
        number = self._words.get(text)
        if number is None:
            self._connection.execute("INSERT OR IGNORE INTO word (text) VALUES (?)", (text,))
            number = int(
                self._connection.execute("SELECT number FROM word WHERE text = ?", (text,)).fetchone()[0]
            )
            if len(self._words) >= _WORDS_MAX:
                self._words.clear()
            self._words[text] = number
        return number

    def _find_text(self, number: int) -> str:
        text = self._texts.get(number)
        if text is None:
            text = str(
                self._connection.execute("SELECT text FROM word WHERE number = ?", (number,)).fetchone()[0]
            )
            if len(self._texts) >= _WORDS_MAX:
                self._texts.clear()
            self._texts[number] = text
        return text


def _seldom(job: Job) -> tuple[object, ...]:
    return tuple(getattr(job, name) for name in _SELDOM)


def _error_text(job: Job) -> str | None:
    """Return what the index of words has of a job."""
    if job.error is None or job.error_type is None or job.error_type in job.error:
        return job.error
    return f"{job.error_type}: {job.error}"
