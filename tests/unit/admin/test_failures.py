"""Every error of a user is a sentence and an exit code; a fault of the program is not."""

from __future__ import annotations

import sqlite3

import pytest
from trellis_admin.exits import ExitCode
from trellis_admin.failures import describe_failure
from trellis_admin.packages import UnreadablePackage
from trellis_admin.queries import FilterProblem
from trellis_admin.session import AmbiguousJob
from trellis_nats.errors import JobNotFound, NoResponders, PermissionsMissing, TrellisError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FilterProblem("no such word"), ExitCode.USAGE),
        (UnreadablePackage("no such package"), ExitCode.USAGE),
        (AmbiguousJob("several"), ExitCode.USAGE),
        (JobNotFound("no such job"), ExitCode.NOT_FOUND),
        (TrellisError("the server is away"), ExitCode.SERVER),
        (PermissionsMissing(["subscribe to x"]), ExitCode.SERVER),
    ],
)
def test_an_error_is_a_sentence_and_a_code(error: Exception, code: ExitCode) -> None:
    assert describe_failure(error) == (f"trellis: {error}", code)


def test_a_damaged_projection_has_a_remedy() -> None:
    described = describe_failure(sqlite3.DatabaseError("database disk image is malformed"))

    assert described is not None
    assert described[1] is ExitCode.SERVER
    assert "delete it: it is read again" in described[0]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("SQLITE_FULL", "make room on its disk"),
        ("SQLITE_IOERR_WRITE", "make room on its disk"),
        ("SQLITE_BUSY", "repeat the command"),
    ],
)
def test_a_projection_that_cannot_be_written_has_a_remedy(name: str, remedy: str) -> None:
    error = sqlite3.OperationalError("it is not written")
    error.sqlite_errorname = name
    described = describe_failure(error)

    assert described is not None
    assert described[1] is ExitCode.SERVER
    assert "the projection cannot be used: it is not written; " in described[0]
    assert remedy in described[0]


def test_errors_of_tasks_that_failed_together_are_one_sentence() -> None:
    group = ExceptionGroup("tasks", [NoResponders("away"), JobNotFound("gone")])

    described = describe_failure(group)

    assert described is not None
    assert described[1] is ExitCode.SERVER


def test_a_fault_of_the_program_is_not_hidden() -> None:
    assert describe_failure(KeyError("x")) is None
    assert describe_failure(ExceptionGroup("tasks", [JobNotFound("gone"), KeyError("x")])) is None
