"""An operator and a viewer can do all of their work with an account that may do nothing else; without a line of it, they are told."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from trellis_admin.audit_log import (
    Action,
    AdminResourceMissing,
    AuditLog,
    Kind,
    open_admin_bucket,
)
from trellis_admin.audit_log.resources import create_audit_stream
from trellis_admin.operator import Operator
from trellis_admin.projection import Database
from trellis_admin.session import open_admin_connection
from trellis_nats import JobState, Permissions, TrellisError, permissions
from trellis_nats.testing import NatsServer

from tests.support.capabilities import CHANGES, READS, Bench, Capability
from tests.support.depot import Depot, login, standing, violations
from tests.support.eventually import eventually
from tests.support.shop import Parcel, Shop

OPERATOR = permissions(Depot, "operator")
VIEWER = permissions(Depot, "viewer")
LACKING = [
    *(("operator", capability, line) for capability in (*READS, *CHANGES) for line in capability.needs),
    *(("viewer", capability, line) for capability in READS for line in capability.needs),
]


def without(granted: Permissions, line: str) -> Permissions:
    assert line in granted.publish
    return replace(granted, publish=tuple(subject for subject in granted.publish if subject != line))


def lacking_user(role: str, line: str) -> str:
    lines = (OPERATOR if role == "operator" else VIEWER).publish
    return f"{role}_lacks_{lines.index(line)}"


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    """Run a server with one user for each role, and one for each line that is left out of it."""
    users: dict[str, Permissions | None] = {"root": None, "operator": OPERATOR, "viewer": VIEWER}
    for role, _, line in LACKING:
        users[lacking_user(role, line)] = without(OPERATOR if role == "operator" else VIEWER, line)
    started: list[NatsServer] = []

    async def stand(ready: asyncio.Event, done: asyncio.Event) -> None:
        async with standing(users) as running:
            started.append(running)
            ready.set()
            await done.wait()

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        ready, done = asyncio.Event(), asyncio.Event()
        task = loop.create_task(stand(ready, done))
        runner.run(_first(ready, task))
        yield started[0]
        done.set()
        runner.run(_finish(task))


async def _first(ready: asyncio.Event, task: asyncio.Task[None]) -> None:
    await asyncio.wait((asyncio.create_task(ready.wait()), task), return_when=asyncio.FIRST_COMPLETED)


async def _finish(task: asyncio.Task[None]) -> None:
    await task


@asynccontextmanager
async def bench_of(server: NatsServer, user: str) -> AsyncGenerator[Bench]:
    async with (
        open_admin_connection(server.url, login(user)) as connection,
        open_admin_connection(server.url, login("root")) as root,
    ):
        await open_admin_bucket(root)
        await create_audit_stream(root)
        with tempfile.TemporaryDirectory() as folder:
            database = Path(folder) / "jobs.sqlite"
            Database.open(database).close()
            yield Bench(Operator(connection, database, actor="anna", source="test"), root)


@pytest.mark.parametrize("capability", [*READS, *CHANGES], ids=str)
async def test_an_operator_may(server: NatsServer, capability: Capability) -> None:
    async with bench_of(server, "operator") as bench:
        await capability.act(bench)


@pytest.mark.parametrize("capability", READS, ids=str)
async def test_a_viewer_may(server: NatsServer, capability: Capability) -> None:
    async with bench_of(server, "viewer") as bench:
        await capability.act(bench)


@pytest.mark.parametrize("capability", CHANGES, ids=str)
async def test_the_server_refuses_what_a_viewer_would_change(
    server: NatsServer, capability: Capability
) -> None:
    async with bench_of(server, "viewer") as bench:
        before = len(violations(server))
        with pytest.raises(TrellisError, match="may not publish to"):
            await capability.act(bench)
        # The server answers first, and then writes its log.
        await eventually(lambda: len(violations(server)) > before)


@pytest.mark.parametrize(
    ("role", "capability", "line"), LACKING, ids=lambda value: str(value).replace(" ", "_")
)
async def test_what_is_missing_is_named(
    server: NatsServer, role: str, capability: Capability, line: str
) -> None:
    async with bench_of(server, lacking_user(role, line)) as bench:
        with pytest.raises(TrellisError, match="may not publish to") as denied:
            await capability.act(bench)
    wildcard = min((line.index(token) for token in ("*", ">") if token in line), default=len(line))
    assert line[:wildcard] in str(denied.value)


async def test_an_operator_creates_what_the_tools_store_and_a_viewer_does_not() -> None:
    users = {"operator": OPERATOR, "viewer": VIEWER, "root": None}
    async with (
        standing(users) as fresh,
        open_admin_connection(fresh.url, login("viewer")) as viewer,
        open_admin_connection(fresh.url, login("operator")) as operator,
    ):
        for connection in (viewer, operator):
            log = AuditLog(connection, actor="anna", source="test")
            record = log.new_record(Kind.PAYLOAD, Action.REVEAL, {"job": "J1"}, reason=None)
            if connection is viewer:
                with pytest.raises(AdminResourceMissing, match=r"role operator|that may create it"):
                    await log.store(record)
                with pytest.raises(AdminResourceMissing, match=r"role operator|that may create it"):
                    await open_admin_bucket(connection)
                with tempfile.TemporaryDirectory() as folder:
                    looking = Operator(viewer, Path(folder) / "jobs.sqlite", actor="anna", source="test")
                    assert await looking.bulk.list_all() == []
                    assert (await looking.audit_log()).entries == ()
            else:
                await log.store(record)
                await open_admin_bucket(connection)


async def test_an_operator_may_do_it_in_a_service_too(server: NatsServer) -> None:
    async with (
        bench_of(server, "operator") as bench,
        Depot.connect(server.url, options=login("operator")) as depot,
    ):
        before = violations(server)
        queue = depot.jobs.ship
        failed = (await bench.job("created started failed")).rpartition(".")[2]
        await queue.ref(failed).retry(reason="a test", actor="anna")
        assert (await queue.ref(failed).cancel("enough")).state is JobState.CANCELLED
        dead = {(await bench.job("created started dead")).rpartition(".")[2] for _ in range(3)}
        found = {job.ref.id: job async for job in queue.dead() if job.ref.id in dead}
        replayed, dismissed, edited = (found[job_id] for job_id in sorted(dead))
        await replayed.replay(actor="anna")
        await dismissed.dismiss(reason="a test")
        await edited.ref.replay_edited(Parcel(number=70_001))
        stale = (await bench.job("created started stale")).rpartition(".")[2]
        again = await queue.ref(stale).recreate(reason="a test", actor="anna")
        await again.cancel("enough")
        assert await queue.stats()
        await queue.pause(reason="a test", actor="anna")
        assert await queue.paused()
        assert await queue.resume()

        assert violations(server) == before


def test_a_viewer_may_do_nothing_that_no_capability_needs() -> None:
    """But for what makes it tidier, or its errors clearer: to remove consumers at once, to know that a bucket exists."""
    needed = {line for capability in READS for line in capability.needs}
    without_need = [line for line in VIEWER.publish if _of_one_queue(line) not in needed]

    assert without_need == [
        "$JS.API.CONSUMER.DELETE.JOBS.*",
        "$JS.API.CONSUMER.DELETE.TRELLIS_AUDIT.*",
        "$JS.API.CONSUMER.DELETE.KV_JOBS_KEYS_depot.*",
        "$JS.API.STREAM.MSG.GET.KV_JOBS_KEYS_depot",
        "$JS.API.CONSUMER.DELETE.KV_TRELLIS_ADMIN.*",
        "$JS.API.DIRECT.GET.KV_TRELLIS_ADMIN.$KV.TRELLIS_ADMIN.>",
        "$JS.API.STREAM.INFO.KV_TRELLIS_ADMIN",
    ]


def _of_one_queue(line: str) -> str:
    """Return the line that the queue `ship` has in place of one of another queue."""
    for name in ("pack", "charge", "sort", "weigh"):
        for before, after in ((f".{name}", ".ship"), (f"__{name}", "__ship")):
            line = line.replace(before, after)
    return line


def test_a_viewer_has_no_part_in_the_answers_of_the_service_and_to_operators() -> None:
    assert VIEWER.subscribe == ("_INBOX_trellis-admin.viewer.>",)
    assert permissions(Depot, "viewer", inbox_prefix="_INBOX.anna").subscribe == ("_INBOX.anna.>",)


def test_two_services_share_one_operator() -> None:
    """What the admin tools store, and the stream of jobs, are there once."""
    both = OPERATOR | permissions(Shop, "operator")

    assert set(OPERATOR.publish) <= set(both.publish)
    assert "trellis.jobs.shop.pack.*.retried" in both.publish
    assert both.publish.count("trellis.audit.>") == 1
