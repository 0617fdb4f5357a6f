"""Opens the file of the projection, for the one that writes and for those that read."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from trellis_nats import TrellisError
from trellis_nats.jobs.model.creation import derive_replacement_id

from trellis_admin.projection.schema import TABLES, VERSION

__all__ = ["Database", "ProjectionProblem", "connect_reader"]

_BUSY_SECONDS: Final = 30.0
"""How long a transaction waits for that of another process."""
_CACHE_KIB: Final = 64 * 1024
"""The page cache of a connection that writes; one that reads takes an eighth."""
_SALT_BYTES: Final = 16
_SQLITE_MIN: Final = (3, 33, 0)


class ProjectionProblem(TrellisError):
    """The file of the projection cannot be used. The text says why and what to do."""


@dataclass(slots=True)
class Database:
    """The file of a projection, open for writing. Several processes may have the same file open.

    One thread at a time may use it, not always the same one.
    """

    path: Path
    connection: sqlite3.Connection
    """In autocommit mode: transactions are begun and ended by `transaction`."""
    _file: tuple[int, int]
    """What the path named when it was opened: a device and an inode."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a file, and create it if it does not exist. A file of another version of this package is emptied.

        Raises:
            ProjectionProblem: it cannot be created, is not a projection, or this Python's SQLite is too old or lacks FTS5.
        """
        if sqlite3.sqlite_version_info < _SQLITE_MIN:
            raise ProjectionProblem(
                f"this Python has SQLite {sqlite3.sqlite_version}, and the projection needs 3.33 or newer; use another build of "
                "Python"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = _connect(path, _CACHE_KIB, one_thread=False)
        except sqlite3.Error as error:
            raise ProjectionProblem(_explain(path, error)) from error
        except OSError as error:
            raise ProjectionProblem(
                f"{path} cannot be created: {error}; choose another file with --db"
            ) from error
        try:
            database = cls(path, connection, _identify(path))
            database._prepare()
        except sqlite3.Error as error:
            connection.close()
            raise ProjectionProblem(_explain(path, error)) from error
        except BaseException:
            connection.close()
            raise
        return database

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def is_at_its_path(self) -> bool:
        """Return whether the path still names this file: it may be deleted at any time, and another one created."""
        try:
            return _identify(self.path) == self._file
        except OSError:
            return False

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """Run a block in a transaction that no other process writes in; an exception rolls it back."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:  # SQLite itself has rolled back where the disk is full
                self.connection.execute("ROLLBACK")
            raise

    def empty(self) -> None:
        """Remove all rows, inside a transaction: the stream is read again from its beginning."""
        for (name,) in self.connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'error_text_%' "
            "AND name NOT LIKE 'sqlite_%'"
        ).fetchall():
            self.connection.execute(f'DROP TABLE "{name}"')
        for statement in TABLES:
            self.connection.execute(statement)
        self.connection.execute(
            "INSERT INTO checkpoint (only, salt) VALUES (1, ?)", (os.urandom(_SALT_BYTES),)
        )
        self.connection.execute(f"PRAGMA user_version = {VERSION}")

    def _prepare(self) -> None:
        self.connection.execute("PRAGMA journal_mode = WAL")
        # After a power cut the newest transactions may be missing, which the stream still has: the file stays whole.
        self.connection.execute("PRAGMA synchronous = NORMAL")
        if _version(self.connection) == VERSION:
            return
        with self.transaction():
            version = _version(self.connection)  # another process may have been faster
            if version == VERSION:
                return
            tables = self.connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            if tables and ("checkpoint",) not in tables:
                raise ProjectionProblem(
                    f"{self.path} is a database of another program, and is left as it is; choose another file with --db"
                )
            self.empty()


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a projection for queries. A connection belongs to the thread that opened it.

    Its SQL has a function `replacement_id`: the id of the job that was created instead of another one.

    Raises:
        ProjectionProblem: there is no such file, it is empty, or its rows are of another version of this package.
    """
    if not path.is_file():
        raise ProjectionProblem(f"{path} does not exist: the projection has not been read yet")
    try:
        connection = _connect(path, _CACHE_KIB // 8)
    except sqlite3.Error as error:
        raise ProjectionProblem(_explain(path, error)) from error
    try:
        version = _version(connection)
        connection.execute("PRAGMA query_only = ON")
        connection.create_function("replacement_id", 4, derive_replacement_id, deterministic=True)
    except sqlite3.Error as error:
        connection.close()
        raise ProjectionProblem(_explain(path, error)) from error
    if version == 0:
        connection.close()
        raise ProjectionProblem(
            f"{path} is empty: another process creates it at this moment, or it was truncated; if that lasts, delete it: it is "
            "read again from the stream"
        )
    if version != VERSION:
        connection.close()
        raise ProjectionProblem(
            f"{path} has layout {version}, and this version of trellis reads layout {VERSION}: another version uses the same "
            "file; choose another one with --db"
        )
    return connection


def _identify(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _connect(path: Path, cache_kib: int, *, one_thread: bool = True) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=one_thread
    )
    try:
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute("PRAGMA temp_store = MEMORY")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection) -> int:
    with closing(connection.execute("PRAGMA user_version")) as cursor:
        found: int = cursor.fetchone()[0]
    return found


def _explain(path: Path, error: sqlite3.Error) -> str:
    if "fts5" in str(error):
        return "the SQLite of this Python was built without FTS5, which the projection needs; use another build of Python"
    if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
        return f"{path} is not a SQLite file, and is left as it is; choose another file with --db"
    return f"{path} cannot be used: {error}; choose another file with --db, or delete it: it is read again from the stream"
