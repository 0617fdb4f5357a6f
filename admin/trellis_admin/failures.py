"""What an error means for the person who ran a command: a sentence and an exit code."""

from __future__ import annotations

import sqlite3
from typing import Final, cast

from trellis_nats import ConfigurationError, TrellisError
from trellis_nats.errors import ActionRefused, InvalidPayload, JobNotEnqueued, JobNotFound, PermissionsMissing

from trellis_admin.audit_log import AuditFilterProblem
from trellis_admin.bulk import BulkNotFound, BulkProblem
from trellis_admin.callers import CallerNotFound, CallersProblem, CallersRefused
from trellis_admin.exits import ExitCode
from trellis_admin.keys import KeyProblem
from trellis_admin.manifests import InvalidManifest
from trellis_admin.packages import UnreadablePackage
from trellis_admin.projection import ProjectionProblem
from trellis_admin.session import AmbiguousJob, QueueProblem
from trellis_admin.terminal.asking import Declined
from trellis_admin.terminal.tables import without_controls

_DELETE_IT: Final = "choose another file with --db, or delete it: it is read again from the stream"
_MAKE_ROOM: Final = "make room on its disk, or choose a file on another one with --db: what is missing is read again from the stream"
_REPEAT: Final = "another process writes it: repeat the command, or choose another file with --db"

__all__ = ["describe_failure", "exit_code_of"]


def describe_failure(error: Exception) -> tuple[str, ExitCode] | None:
    """Return the text for stderr and the exit code; None for an error that is a fault of the program."""
    if isinstance(error, ExceptionGroup):  # of tasks that failed together
        members = cast("tuple[Exception, ...]", error.exceptions)
        described = [describe_failure(member) for member in members]
        return None if None in described else described[0]
    if isinstance(error, InvalidManifest):
        return str(error), ExitCode.INVALID
    code = exit_code_of(error)
    if code is not None and isinstance(error, sqlite3.Error):
        error = ProjectionProblem(f"the projection cannot be used: {error}; {_remedy(error)}")
    return None if code is None else (without_controls(f"trellis: {error}"), code)


def _remedy(error: sqlite3.Error) -> str:
    match getattr(error, "sqlite_errorname", "").split("_"):  # only what SQLite itself raises has a name
        case [_, "FULL" | "IOERR", *_]:
            return _MAKE_ROOM
        case [_, "BUSY" | "LOCKED", *_]:
            return _REPEAT
        case _:  # the file is damaged
            return _DELETE_IT


def exit_code_of(error: Exception) -> ExitCode | None:
    """Return the exit code for an error; None for a fault of the program."""
    match error:
        case PermissionsMissing():
            return ExitCode.SERVER
        case CallerNotFound():
            return ExitCode.NOT_FOUND
        case CallersRefused():
            return ExitCode.REFUSED
        case (
            UnreadablePackage()
            | ConfigurationError()
            | AuditFilterProblem()
            | AmbiguousJob()
            | QueueProblem()
            | InvalidPayload()
            | CallersProblem()
        ):
            return ExitCode.USAGE
        case JobNotFound() | BulkNotFound():
            return ExitCode.NOT_FOUND
        case ActionRefused() | JobNotEnqueued() | BulkProblem() | KeyProblem() | Declined():
            return ExitCode.REFUSED
        case TrellisError() | sqlite3.OperationalError():
            return ExitCode.SERVER
        case sqlite3.DatabaseError() if type(error) is sqlite3.DatabaseError:
            return ExitCode.SERVER
        case _:
            return None
