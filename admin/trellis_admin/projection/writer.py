"""Writes pages of events to the file of the projection. Everything here blocks, and belongs in a thread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from trellis_nats import TrellisError

from trellis_admin.projection.codes import MINUTE, STEPS
from trellis_admin.projection.database import Database
from trellis_admin.projection.fold import fold
from trellis_admin.projection.incoming import Incoming, heartbeat_place, job_place
from trellis_admin.projection.store import Checkpoint, Store

__all__ = ["EndedJob", "OtherStream", "Writer"]

_HEARTBEATS_KEPT: Final = 24 * 60 * MINUTE
_ORPHANS: Final = 4
"""Arguments of jobs that are gone are removed when the jobs gone are this part of those left: a quarter."""
_ORPHANS_LEAST: Final = 1_000
_DROPPED_AT_ONCE: Final = 5_000


class OtherStream(TrellisError):
    """The projection is not of the stream that is being read, or another process has emptied it. Begin again."""


class EndedJob(NamedTuple):
    """A job that ended."""

    created_seq: int
    filter: str
    """The subjects of its events."""


class Writer:
    """Writes to one file. It keeps nothing in memory that grows with the stream."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._store = Store(database.connection)

    def checkpoint(self) -> Checkpoint:
        """Return of which stream the rows are, and up to which message."""
        return self._store.checkpoint()

    def empty(self, stream_created: str, *, generation: bytes) -> None:
        """Remove all rows, and begin with a stream, unless another process has done so already.

        Args:
            stream_created: the stream to begin with; empty for none.
            generation: the salt of the checkpoint that showed that the rows are of another stream.
        """
        with self._database.transaction() as connection:
            if self._store.checkpoint().salt == generation:
                self._database.empty()
                connection.execute("UPDATE checkpoint SET stream_created = ?", (stream_created,))
        self._store.forget()

    def apply(self, page: Sequence[Incoming], *, generation: bytes, after: int) -> int:
        """Fold a page of messages into the rows, in one transaction. Return the sequence of the projection now.

        What another process has written already is left out.

        Args:
            page: messages in order.
            generation: the salt of the checkpoint after which they were requested.
            after: its sequence.

        Raises:
            OtherStream: another process has emptied the projection since then.
        """
        try:
            with self._database.transaction():
                return self._apply(page, generation, after)
        except BaseException:
            self._store.forget()
            raise

    def _apply(self, page: Sequence[Incoming], generation: bytes, after: int) -> int:
        checkpoint = self._store.checkpoint()
        if checkpoint.salt != generation:
            raise OtherStream("the projection was emptied while it was written")
        if checkpoint.sequence > after:
            self._store.forget()
            page = [message for message in page if message.sequence > checkpoint.sequence]
        if not page:
            return checkpoint.sequence
        self._fold(page, checkpoint.salt)
        return page[-1].sequence

    def _fold(self, page: Sequence[Incoming], salt: bytes) -> None:
        places = [place for message in page if (place := job_place(message.subject)) is not None]
        changes, before = self._store.load(places)
        beats = [heartbeat_place(message.subject) for message in page]
        self._store.load_workers(changes, [(beat[1], beat[0]) for beat in beats if beat is not None])
        for message in page:
            fold(changes, message, salt)
        self._store.save(changes, before)
        last = page[-1]
        self._store.move(
            sequence=last.sequence,
            stored_at=last.stored_at,
            subject=last.subject,
            malformed=changes.malformed,
        )

    def note_stream(self, *, first_sequence: int, last_sequence: int, is_complete: bool) -> None:
        """Note where the stream begins and ends, and whether the projection has reached its end."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE checkpoint SET first_sequence = ?, last_sequence = max(sequence, ?), looked_at = ?, "
                "is_complete = is_complete OR ?",
                (first_sequence, last_sequence, time.time_ns() // 1_000_000, is_complete),
            )

    def is_time_for_purges(self, every: int) -> bool:
        """Return whether no process has looked for purged jobs for some milliseconds. Then this one does."""
        now = time.time_ns() // 1_000_000
        with self._database.transaction() as connection:
            changed = connection.execute(
                "UPDATE checkpoint SET purges_at = ? WHERE purges_at NOT BETWEEN ? AND ?",
                (now, now - every, now),
            )
            return changed.rowcount > 0

    # --- what the stream does not have any more ---------------------------------------------------------------------

    def drop_before(self, first_sequence: int) -> int:
        """Remove the jobs whose creation the stream does not have any more. Return how many."""
        dropped = 0
        while found := self._drop("created_seq < ?", (first_sequence,)):
            dropped += found
        return dropped

    def drop_jobs(self, created: Sequence[int]) -> int:
        """Remove jobs by the sequences of their creation. Return how many."""
        return self._drop(f"created_seq IN ({', '.join('?' * len(created))})", created)

    def oldest_ended(self, limit: int) -> dict[tuple[int, int], list[EndedJob]]:
        """Return for each queue and state the jobs that ended first: what a service purges, it purges in that order."""
        connection = self._database.connection
        pairs = connection.execute(
            "SELECT queue, state, prefix FROM counter JOIN queue ON number = queue WHERE state > 2 AND jobs > 0"
        ).fetchall()
        return {
            (queue, state): [
                EndedJob(created, f"{prefix}.{job_id}.>")
                for created, job_id in connection.execute(
                    "SELECT created_seq, id FROM job WHERE queue = ? AND state = ? ORDER BY state_seq LIMIT ?",
                    (queue, state, limit),
                )
            ]
            for queue, state, prefix in pairs
        }

    def _drop(self, where: str, values: Sequence[int]) -> int:
        with self._database.transaction() as connection:
            jobs = connection.execute(
                "SELECT created_seq, queue, state, CASE WHEN text IS NULL OR instr(error, text) THEN error "
                "ELSE text || ': ' || error END FROM job LEFT JOIN word ON word.number = error_type "
                f"WHERE {where} LIMIT ?",
                (*values, _DROPPED_AT_ONCE),
            ).fetchall()
            self._store.drop(jobs, time.time_ns() // 1_000_000)
            connection.execute("UPDATE checkpoint SET orphans = orphans + ?", (len(jobs),))
        return len(jobs)

    def tidy(self) -> None:
        """Remove what is too old, and what belonged to jobs that are gone."""
        with self._database.transaction() as connection:
            stored_at, orphans, jobs = connection.execute(
                "SELECT stored_at, orphans, (SELECT coalesce(sum(jobs), 0) FROM counter) FROM checkpoint"
            ).fetchone()
            for step, kept in STEPS:
                connection.execute(
                    "DELETE FROM series WHERE step = ? AND at < ?", (step, stored_at // MINUTE - kept)
                )
            connection.execute("DELETE FROM span WHERE last_seq < (SELECT first_sequence FROM checkpoint)")
            connection.execute("DELETE FROM worker WHERE at < ?", (stored_at - _HEARTBEATS_KEPT,))
            if orphans > max(_ORPHANS_LEAST, jobs // _ORPHANS):
                connection.execute("DELETE FROM argument WHERE job NOT IN (SELECT created_seq FROM job)")
                connection.execute(
                    "DELETE FROM pattern WHERE fingerprint NOT IN "
                    "(SELECT fingerprint FROM job WHERE fingerprint IS NOT NULL)"
                )
                connection.execute("UPDATE checkpoint SET orphans = 0")
