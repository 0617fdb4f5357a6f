"""The projection of a real stream: complete, and the same after crashes, roll-backs and purges."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Final
from unittest.mock import patch

import pytest
from trellis_admin.projection import (
    CaughtUp,
    Checked,
    Database,
    ProjectionProblem,
    catch_up,
    check_projection,
    connect_reader,
    follow,
    follower,
    forget_if_purged,
)
from trellis_admin.projection.incoming import Incoming
from trellis_admin.projection.writer import Writer
from trellis_admin.queries import JobFilter, Selection, list_jobs, read_status
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_stream_info, purge_stream
from trellis_nats.errors import PermissionDenied
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.operating import denying, operator_connection, restricted
from tests.support.projected import Rows, dump, heartbeat, job_event, open_projection, write_pages
from tests.support.versions import VERSIONS, binary_of

ALL: Final = Selection(JobFilter(), 2**60)


@asynccontextmanager
async def jobs_stream(server: NatsServer) -> AsyncGenerator[Connection]:
    async with operator_connection(server.url) as connection:
        if await get_stream_info(connection, "JOBS") is None:
            await call(
                connection,
                "STREAM.CREATE.JOBS",
                {"name": "JOBS", "subjects": ["trellis.jobs.>"], "storage": "file", "allow_direct": True},
            )
        yield connection


@asynccontextmanager
async def following(
    connection: Connection, database: Database, changed: Callable[[int], None] = lambda _: None
) -> AsyncGenerator[None]:
    task = asyncio.create_task(follow(connection, database, changed=changed))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def store(connection: Connection, messages: Sequence[Incoming]) -> None:
    for message in messages:
        await publish_acked(connection, message.subject, message.data)


def jobs(first: int, last: int) -> list[Incoming]:
    """Return the events of some jobs: a third completed, a third dead, a third waits."""
    messages = [heartbeat(1, "w1", running=1)]
    for number in range(first, last):
        name, at = f"JOB{number}", number * 10
        messages += [job_event(at, name, EventType.CREATED), job_event(at + 1, name, EventType.STARTED)]
        if number % 3 == 0:
            messages.append(job_event(at + 2, name, EventType.COMPLETED))
        elif number % 3 == 1:
            messages.append(job_event(at + 2, name, EventType.DEAD, {"error": f"ValueError: order {number}"}))
    return messages


def without_storage_times(rows: Rows) -> Rows:
    rows = dict(rows)
    rows["checkpoint"] = [
        (sequence, subject, malformed) for sequence, _, subject, malformed in rows["checkpoint"]
    ]
    return rows


def folded(path: Path, messages: Sequence[Incoming]) -> Rows:
    """Return the rows that messages have which are stored one after the other."""
    numbered = [message._replace(sequence=number) for number, message in enumerate(messages, start=1)]
    return without_storage_times(write_pages(path, [numbered]))


def rows_of(database: Database) -> Rows:
    return without_storage_times(dump(database))


async def test_it_reads_everything_and_then_only_what_is_new(nats_server: NatsServer, tmp_path: Path) -> None:
    messages = jobs(0, 40)
    steps: list[tuple[int, int]] = []
    async with jobs_stream(nats_server) as connection:
        await store(connection, messages[:70])
        with closing(open_projection(tmp_path / "p")) as database:
            first = await catch_up(
                connection, database, progress=lambda done, total: steps.append((done, total))
            )
        await store(connection, messages[70:])
        with closing(Database.open(tmp_path / "p")) as database:
            second = await catch_up(connection, database)
            third = await catch_up(connection, database)

            assert first == CaughtUp(70, 70, was_rebuilt=False)
            assert steps == [(70, 70)]
            assert (second.sequence, third.sequence) == (len(messages), len(messages))
            assert rows_of(database)["job"] == folded(tmp_path / "q", messages)["job"]
            assert read_status(database.connection).is_complete


async def test_without_a_stream_there_are_no_jobs(nats_server: NatsServer, tmp_path: Path) -> None:
    async with operator_connection(nats_server.url) as connection:
        with closing(Database.open(tmp_path / "p")) as database:
            assert await catch_up(connection, database) == CaughtUp(0, 0, was_rebuilt=False)


async def test_a_stream_that_was_created_again_is_read_from_its_beginning(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with jobs_stream(nats_server) as connection:
        with closing(Database.open(tmp_path / "p")) as database:
            await store(connection, jobs(0, 10))
            await catch_up(connection, database)
            await call(connection, "STREAM.DELETE.JOBS")
            gone = await catch_up(connection, database)
            assert (gone.was_rebuilt, list_jobs(database.connection, ALL).rows) == (True, ())
        async with jobs_stream(nats_server):
            pass
        with closing(Database.open(tmp_path / "p")) as database:
            await store(connection, jobs(100, 110))
            again = await catch_up(connection, database)

            assert again.sequence == len(jobs(100, 110))
            assert {row.id for row in list_jobs(database.connection, ALL).rows} == {
                f"JOB{n}" for n in range(100, 110)
            }


@pytest.mark.parametrize("more", [5, 60], ids=["shorter than before", "longer than before"])
@pytest.mark.parametrize("version", [None, *VERSIONS])
async def test_a_stream_that_was_rolled_back_is_read_from_its_beginning(
    tmp_path: Path, more: int, version: str | None
) -> None:
    with NatsServer(binary=None if version is None else binary_of(version)) as server:
        async with jobs_stream(server) as connection:
            await store(connection, jobs(0, 10))
        server.terminate()
        (folder,) = server.store.rglob("streams/JOBS")
        shutil.copytree(folder, tmp_path / "backup")
        server.start()
        with closing(Database.open(tmp_path / "p")) as database:
            async with jobs_stream(server) as connection:
                await store(connection, jobs(10, 20))
                await catch_up(connection, database)
            server.terminate()
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / "backup", folder)
            server.start()
            async with jobs_stream(server) as connection:
                await store(connection, jobs(30, 30 + more))
                caught_up = await catch_up(connection, database)

            assert caught_up.was_rebuilt
            found = {row.id for row in list_jobs(database.connection, ALL, limit=1_000).rows}
            assert found == {f"JOB{n}" for n in (*range(10), *range(30, 30 + more))}


async def test_purged_jobs_are_dropped(nats_server: NatsServer, tmp_path: Path) -> None:
    async with jobs_stream(nats_server) as connection:
        await store(connection, jobs(0, 30))
        with closing(Database.open(tmp_path / "p")) as database:
            await catch_up(connection, database)
            for number in (0, 3, 6, 1):  # as a service does: what ended first
                await purge_stream(connection, "JOBS", f"trellis.jobs.shop.pack.JOB{number}.>")
            database.connection.execute("UPDATE checkpoint SET purges_at = 0")
            await catch_up(connection, database)

            left = {f"JOB{n}" for n in range(30)} - {"JOB0", "JOB3", "JOB6", "JOB1"}
            assert {row.id for row in list_jobs(database.connection, ALL).rows} == left
            assert read_status(database.connection).jobs == 26

            await call(connection, "STREAM.PURGE.JOBS", {"seq": 60})
            database.connection.execute("UPDATE checkpoint SET purges_at = 0")
            await catch_up(connection, database)
            first = min(row.created_sequence for row in list_jobs(database.connection, ALL).rows)
            assert first >= 60


async def test_a_job_that_was_purged_by_hand_is_forgotten_when_it_is_looked_up(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    path, prefix = tmp_path / "p", "trellis.jobs.shop.pack"
    async with jobs_stream(nats_server) as connection:
        await store(connection, jobs(0, 6))
        with closing(Database.open(path)) as database:
            await catch_up(connection, database)
            await purge_stream(connection, "JOBS", f"{prefix}.JOB4.>")

            assert not await forget_if_purged(connection, path, prefix, "JOB3")
            assert await forget_if_purged(connection, path, prefix, "JOB4")
            assert not await forget_if_purged(connection, path, prefix, "JOB4")
            assert {row.id for row in list_jobs(database.connection, ALL).rows} == {
                f"JOB{number}" for number in (0, 1, 2, 3, 5)
            }


async def test_two_processes_may_read_into_one_file(nats_server: NatsServer, tmp_path: Path) -> None:
    messages = jobs(0, 400)
    async with jobs_stream(nats_server) as connection:
        await store(connection, messages)
        with closing(open_projection(tmp_path / "p")) as one, closing(Database.open(tmp_path / "p")) as other:
            await asyncio.gather(*(catch_up(connection, each) for each in (one, other, one, other)))

            expected = folded(tmp_path / "q", messages)
            assert {name: rows_of(one)[name] for name in ("job", "counter")} == {
                name: expected[name] for name in ("job", "counter")
            }


async def test_it_follows_through_a_restart_of_the_server(tmp_path: Path) -> None:
    with NatsServer() as server:
        async with jobs_stream(server) as connection:
            path, seen = tmp_path / "p", list[int]()
            with closing(Database.open(path)) as database:
                async with following(connection, database, seen.append):
                    await store(connection, jobs(0, 5))
                    await eventually(lambda: seen[-1:] == [len(jobs(0, 5))])
                    reader = database.connection
                    assert len(list_jobs(reader, ALL).rows) == 5
                    await asyncio.to_thread(server.restart)
                    async with operator_connection(server.url) as other:
                        await store(other, jobs(5, 10))
                    await eventually(lambda: len(list_jobs(reader, ALL).rows) == 10)


async def test_a_follower_waits_for_a_stream_that_does_not_exist_yet(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with operator_connection(nats_server.url) as connection:
        with closing(Database.open(tmp_path / "p")) as database:
            seen: list[int] = []
            async with following(connection, database, seen.append):
                await eventually(lambda: seen == [0])
                async with jobs_stream(nats_server) as other:
                    await store(other, jobs(0, 5))
                await eventually(lambda: read_status(database.connection).jobs == 5)


async def test_a_follower_notices_that_another_process_emptied_the_file(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with jobs_stream(nats_server) as connection:
        await store(connection, jobs(0, 5))
        with (
            closing(Database.open(tmp_path / "p")) as database,
            closing(Database.open(tmp_path / "p")) as other,
        ):
            async with following(connection, database):
                await eventually(lambda: read_status(other.connection).jobs == 5)
                with other.transaction():
                    other.empty()
                await store(connection, jobs(5, 7))
                await eventually(lambda: read_status(other.connection).jobs == 7)


async def test_a_follower_reads_again_what_was_deleted(nats_server: NatsServer, tmp_path: Path) -> None:
    path = tmp_path / "p"

    def has_jobs(number: int) -> bool:
        with suppress(ProjectionProblem), closing(connect_reader(path)) as reader:
            return read_status(reader).jobs == number
        return False

    async with jobs_stream(nats_server) as connection:
        await store(connection, jobs(0, 5))
        with closing(Database.open(path)) as database:
            async with following(connection, database):
                await eventually(lambda: has_jobs(5))
                for suffix in ("", "-wal", "-shm"):
                    (tmp_path / f"p{suffix}").unlink()
                await store(connection, jobs(5, 7))
                await eventually(lambda: has_jobs(7))


async def test_a_follower_makes_a_deleted_file_again_where_nothing_happens(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    path = tmp_path / "p"

    def is_complete() -> bool:
        with suppress(ProjectionProblem), closing(connect_reader(path)) as reader:
            return read_status(reader).is_complete
        return False

    async with jobs_stream(nats_server) as connection:
        with patch.object(follower, "_PATH_AGAIN", 0.05), closing(Database.open(path)) as database:
            async with following(connection, database):
                await eventually(is_complete)
                path.unlink()
                await eventually(is_complete)


async def test_an_account_that_may_not_read_the_stream_is_refused(tmp_path: Path) -> None:
    with NatsServer(config=denying({"viewer": ["$JS.API.CONSUMER.CREATE.JOBS.>"]})) as server:
        admin = restricted("admin")
        async with operator_connection(server.url, admin) as connection:
            await call(connection, "STREAM.CREATE.JOBS", {"name": "JOBS", "subjects": ["trellis.jobs.>"]})
        async with operator_connection(server.url, restricted("viewer")) as connection:
            with closing(Database.open(tmp_path / "p")) as database, pytest.raises(PermissionDenied):
                await catch_up(connection, database)


async def test_a_job_that_is_replayed_is_found_again_as_waiting(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with jobs_stream(nats_server) as connection:
        await store(connection, jobs(0, 3))
        with closing(Database.open(tmp_path / "p")) as database:
            await catch_up(connection, database)
            await store(connection, [job_event(50, "JOB1", EventType.RETRIED)])
            await catch_up(connection, database)

            states = {row.id: row.state for row in list_jobs(database.connection, ALL).rows}
            assert states == {"JOB0": JobState.COMPLETED, "JOB1": JobState.PENDING, "JOB2": JobState.ACTIVE}
            assert Writer(database).checkpoint().sequence == len(jobs(0, 3)) + 1


@pytest.mark.parametrize("sample", [None, 40])
async def test_a_check_finds_every_kind_of_difference(
    nats_server: NatsServer, tmp_path: Path, sample: int | None
) -> None:
    path = tmp_path / "p"
    expected = {
        ("JOB2", "state is 3, and by the stream 1"),
        ("JOB2", "tries is 7, and by the stream 1"),
        ("JOB3", "the projection does not have it"),
        ("JOB5", "the stream does not have it"),
        ("pack", "the counter of active jobs is 2, and 1 rows are in that state"),
    }
    async with jobs_stream(nats_server) as connection:
        await store(connection, jobs(0, 8))
        with closing(Database.open(path)) as database:
            await catch_up(connection, database)
            clean = await check_projection(connection, path, sample=sample)
            database.connection.execute("UPDATE job SET state = 3, tries = 7 WHERE id = 'JOB2'")
            database.connection.execute("DELETE FROM job WHERE id = 'JOB3'")
            await purge_stream(connection, "JOBS", "trellis.jobs.shop.pack.JOB5.>")

            found: set[tuple[str, str]] = set()
            while not expected <= found:  # a sample need not have each of the jobs
                checked = await check_projection(connection, path, sample=sample)
                found |= {
                    (difference.job.rpartition(".")[2], difference.text) for difference in checked.differences
                }

    assert clean.differences == ()
    assert clean.jobs == 8 if sample is None else clean.jobs <= 8


async def test_a_check_of_nothing_finds_nothing(nats_server: NatsServer, tmp_path: Path) -> None:
    async with jobs_stream(nats_server) as connection:
        Database.open(tmp_path / "p").close()

        for sample in (None, 10):
            assert await check_projection(connection, tmp_path / "p", sample=sample) == Checked(0, 0, (), 0)


async def test_an_account_without_single_messages_compares_what_the_projection_has(tmp_path: Path) -> None:
    with NatsServer(config=denying({"viewer": ["$JS.API.STREAM.MSG.GET.JOBS"]})) as server:
        async with operator_connection(server.url, restricted("admin")) as connection:
            await call(connection, "STREAM.CREATE.JOBS", {"name": "JOBS", "subjects": ["trellis.jobs.>"]})
            await store(connection, jobs(0, 5))
        async with operator_connection(server.url, restricted("viewer")) as connection:
            with closing(Database.open(tmp_path / "p")) as database:
                await catch_up(connection, database)

            checked = await check_projection(connection, tmp_path / "p", sample=50)

    assert 1 <= checked.jobs <= 5
    assert checked.differences == ()
