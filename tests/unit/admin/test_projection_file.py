"""The file of the projection: whole after a crash at any statement, disposable, and never another program's."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trellis_admin.projection import Database, ProjectionProblem, connect_reader
from trellis_admin.projection.incoming import Incoming
from trellis_admin.projection.schema import VERSION
from trellis_admin.projection.writer import OtherStream, Writer
from trellis_nats.jobs.model.states import EventType

from tests.support.projected import dump, histories, job_event, open_projection, write_pages

FILES: Final = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


def write_on(database: Database, messages: Sequence[Incoming], page: int) -> None:
    """Write what the file does not have yet, page by page."""
    writer = Writer(database)
    while True:
        checkpoint = writer.checkpoint()
        left = [message for message in messages if message.sequence > checkpoint.sequence]
        if not left:
            return
        writer.apply(left[:page], generation=checkpoint.salt, after=checkpoint.sequence)


@FILES
@given(messages=histories(), page=st.integers(1, 12), killed_at=st.integers(1, 120))
def test_a_process_that_is_killed_at_any_statement_leaves_a_whole_file(
    tmp_path: Path, messages: list[Incoming], page: int, killed_at: int
) -> None:
    files, left_behind = tmp_path / "files", tmp_path / "left"
    for folder in (files, left_behind):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    statements = 0

    def copy_at(_statement: str) -> None:
        nonlocal statements
        statements += 1
        if statements == killed_at:
            # What the system has of the files at this moment is what a process leaves that is killed now.
            for file in files.iterdir():
                if not file.name.endswith("-shm"):
                    shutil.copy(file, left_behind)

    with closing(open_projection(files / "p")) as database:
        database.connection.set_trace_callback(copy_at)
        write_on(database, messages, page)
    path = left_behind / "p"
    if not path.exists():
        return  # it had ended before
    with closing(Database.open(path)) as database:
        assert database.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        write_on(database, messages, page)

        assert dump(database) == write_pages(tmp_path / "fresh", [messages])


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    pages = [[job_event(n, f"JOB{n}", EventType.CREATED)] for n in (1, 2)]
    with closing(open_projection(tmp_path / "p")) as database:
        writer = Writer(database)
        salt = writer.checkpoint().salt
        writer.apply(pages[0], generation=salt, after=0)
        database.connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON series BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        with pytest.raises(sqlite3.IntegrityError):
            writer.apply(pages[1], generation=salt, after=1)
        database.connection.execute("DROP TRIGGER full")
        before = dump(database)
        writer.apply(pages[1], generation=salt, after=1)

        assert before["checkpoint"][0][0] == 1
        assert [row[1] for row in dump(database)["job"]] == ["JOB1", "JOB2"]


def test_a_file_of_another_layout_is_emptied(tmp_path: Path) -> None:
    write_pages(tmp_path / "p", [[job_event(1, "JOB", EventType.CREATED)]])
    with closing(sqlite3.connect(tmp_path / "p")) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        connection.execute("CREATE TABLE newer (x)")
        connection.commit()
    with pytest.raises(ProjectionProblem, match=f"has layout {VERSION + 1}"):
        connect_reader(tmp_path / "p")

    with closing(Database.open(tmp_path / "p")) as database:
        assert dump(database)["job"] == []
        assert Writer(database).checkpoint().sequence == 0
    connect_reader(tmp_path / "p").close()


def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "p")) as connection:
        connection.execute("CREATE TABLE precious (x)")
        connection.commit()

    with pytest.raises(ProjectionProblem, match="a database of another program"):
        Database.open(tmp_path / "p")

    with closing(sqlite3.connect(tmp_path / "p")) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("precious",)]


def test_a_file_that_is_not_a_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(b"some text that is long enough to be a file" * 100)

    for attempt in (Database.open, connect_reader):
        with pytest.raises(ProjectionProblem, match="is not a SQLite file"):
            attempt(path)

    assert path.read_bytes().startswith(b"some text")


def test_a_file_that_does_not_exist_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(ProjectionProblem, match="has not been read yet"):
        connect_reader(tmp_path / "p")


def test_a_file_that_was_truncated_is_to_be_deleted(tmp_path: Path) -> None:
    """It has no layout; another version of the package has nothing to do with it."""
    file = tmp_path / "jobs.sqlite"
    Database.open(file).close()
    file.write_bytes(b"")

    with pytest.raises(ProjectionProblem, match=r"is empty: .* delete it"):
        connect_reader(file)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ProjectionProblem, match="choose another file with --db"):
        Database.open(tmp_path / "file" / "p")


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    write_pages(tmp_path / "p", [[job_event(1, "JOB", EventType.CREATED)]])

    with (
        closing(connect_reader(tmp_path / "p")) as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        reader.execute("DELETE FROM job")


def test_what_is_read_for_an_emptied_file_is_refused(tmp_path: Path) -> None:
    with (
        closing(open_projection(tmp_path / "p")) as database,
        closing(Database.open(tmp_path / "p")) as other,
    ):
        writer = Writer(database)
        salt = writer.checkpoint().salt
        Writer(other).empty("later", generation=salt)

        with pytest.raises(OtherStream):
            writer.apply([job_event(1, "JOB", EventType.CREATED)], generation=salt, after=0)
        writer.empty("later still", generation=salt)  # the other one was faster
        assert writer.checkpoint().stream_created == "later"


def test_jobs_that_are_gone_leave_no_arguments(tmp_path: Path) -> None:
    messages = [job_event(n, f"JOB{n}", EventType.CREATED, {"payload": {"n": n}}) for n in range(1, 1_102)]
    with closing(open_projection(tmp_path / "p")) as database:
        write_on(database, messages, 500)
        writer = Writer(database)

        assert writer.drop_before(1_102) == 1_101
        writer.tidy()

        assert database.connection.execute("SELECT count(*) FROM argument").fetchone() == (0,)
        assert dump(database)["counter"] == []


async def test_a_file_that_one_thread_opened_may_be_closed_by_another(tmp_path: Path) -> None:
    database = await asyncio.to_thread(Database.open, tmp_path / "p")

    database.close()


def test_an_old_sqlite_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 26, 0))

    with pytest.raises(ProjectionProblem, match=r"the projection needs 3\.33 or newer"):
        Database.open(tmp_path / "p")
