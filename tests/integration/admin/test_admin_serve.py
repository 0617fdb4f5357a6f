"""`trellis admin serve` and `trellis metrics`, as processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import trellis_admin
from orders_participant import OrdersService
from trellis_admin.payloads import PayloadContract
from trellis_admin.projection import connect_reader
from trellis_admin.queries import read_status
from trellis_admin.rpc.process import AdminOptions, AdminProcess, admin_process
from trellis_admin.rpc.trellis_jobs_participant import JobsGetRequest, TrellisJobsClient
from trellis_nats import JobState, Options
from trellis_nats.errors import NoResponders
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.house.sources import ROOT
from tests.support.eventually import eventually
from tests.support.foreign_events import publish_foreign
from tests.support.shop import Parcel, Shop
from tests.support.trellis_command import run_trellis_here

SOON: Final = timedelta(seconds=60)
PAST: Final = {"deadline": "2026-11-29T14:06:27.000Z"}
COMMAND: Final = "import sys; from trellis_admin.cli import main; main()"


class Served(NamedTuple):
    """A running process, and what it printed."""

    process: asyncio.subprocess.Process
    lines: list[str]

    @property
    def metrics(self) -> str:
        """Where the metrics are."""
        return next(line.partition(": ")[2] for line in self.lines if line.startswith("metrics:"))


@asynccontextmanager
async def serving(server: NatsServer, folder: Path, *arguments: str) -> AsyncGenerator[Served]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, "admin", "serve", "--server", server.url),
        *("--metrics-port", "0", "--db", str(folder / "jobs.sqlite"), *arguments),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "admin"), str(ROOT / "runtime")])},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        lines: list[str] = []
        while not lines or not lines[-1].startswith("metrics:"):
            line = (await process.stderr.readline()).decode()
            assert line, lines
            lines.append(line.strip())
        yield Served(process, lines)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def read_metrics(served: Served) -> str:
    def read() -> str:
        with urllib.request.urlopen(served.metrics, timeout=30) as answer:  # noqa: S310 - it is our own page
            return str(answer.read().decode())

    return await asyncio.to_thread(read)


def value(text: str, name: str, labels: str = "") -> float | None:
    found = re.search(rf"^trellis_fleet_{name}{re.escape(labels)} (\S+)$", text, re.MULTILINE)
    return None if found is None else float(found[1])


async def test_it_follows_expires_answers_and_serves_metrics(nats_server: NatsServer, tmp_path: Path) -> None:
    async with (
        Shop.connect(nats_server.url) as shop,
        serving(nats_server, tmp_path, "--grace", "0") as served,
        TrellisJobsClient.connect(nats_server.url) as client,
    ):
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await publish_foreign(shop, EventType.CREATED, "late", PAST)

        async def both_are_counted() -> bool:
            text = await read_metrics(served)
            return value(text, "jobs", '{service="shop",queue="pack",state="pending"}') is not None

        await eventually(both_are_counted, within=SOON)
        job = (await client.rpc.jobs.get(JobsGetRequest(id=ref.id))).job
        await shop.jobs.pack.ref("late").wait(timeout=SOON)

        async def is_counted() -> bool:
            text = await read_metrics(served)
            return (
                value(text, "duty_jobs_total", '{outcome="expired"}') == 1
                and value(text, "duties_leader") == 1
                and value(text, "jobs", '{service="shop",queue="pack",state="expired"}') == 1
            )

        await eventually(is_counted, within=SOON)
        served.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(served.process.wait(), SOON.total_seconds())

    assert job.state == "pending"
    assert code == 0
    assert served.lines[1:3] == [
        "duties and bulk actions: in one of the replicas, by leases in bucket TRELLIS_ADMIN",
        "RPCs: answered",
    ]


async def test_it_may_start_before_the_streams_exist(nats_server: NatsServer, tmp_path: Path) -> None:
    options = AdminOptions(db=tmp_path / "jobs.sqlite", metrics_port=0)
    async with admin_process(nats_server.url, Options(open=True, provision="off"), options) as process:
        assert process.duties is not None
        await eventually(lambda: process.duties is not None and process.duties.last_burial is not None)
        async with Shop.connect(nats_server.url) as shop:
            ref = await shop.jobs.pack.create(Parcel(number=1))
            async with TrellisJobsClient.connect(nats_server.url) as client:
                job = (await client.rpc.jobs.get(JobsGetRequest(id=ref.id))).job
            await eventually(lambda: count_jobs(process) == 1, within=SOON)
        assert not process.following.done()

    assert job.state == "pending"


def count_jobs(process: AdminProcess) -> int:
    with closing(connect_reader(process.database)) as db:
        return read_status(db).jobs


@pytest.mark.parametrize(
    "contract", [None, OrdersService], ids=["no contract", "the contract that checks it"]
)
async def test_a_bulk_action_that_no_process_runs_is_run(
    nats_server: NatsServer, tmp_path: Path, contract: type[OrdersService] | None
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        for number in range(5):
            await publish_foreign(shop, EventType.CREATED, f"job{number}")
            await publish_foreign(shop, EventType.DEAD, f"job{number}")
        async with trellis_admin.connect(
            nats_server.url, actor="anna", db=tmp_path / "own.sqlite", contract=contract
        ) as operator:
            plan = await operator.bulk.plan("replay", "state:dead")
            await operator.bulk.start(plan, confirm=5, begin_with=None)
        contracts = () if contract is None else (PayloadContract.of(contract),)
        options = AdminOptions(db=tmp_path / "jobs.sqlite", rpc=False, contracts=contracts)
        async with admin_process(nats_server.url, Options(open=True, provision="off"), options):
            refs = [shop.jobs.pack.ref(f"job{number}") for number in range(5)]

            async def are_pending() -> bool:
                return {(await ref.get()).state for ref in refs} == {JobState.PENDING}

            await eventually(are_pending, within=SOON)


async def test_rpcs_are_off_where_the_server_is_elsewhere_unless_asked_for(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    elsewhere = nats_server.url.replace("127.0.0.1", "0.0.0.0")  # noqa: S104 - an address that is not a loopback one
    wanted = AdminOptions(db=tmp_path / "jobs.sqlite", duties=None)
    options = Options(open=True, provision="off")
    async with (
        Shop.connect(nats_server.url),
        TrellisJobsClient.connect(nats_server.url) as client,
        admin_process(elsewhere, options, wanted) as process,
    ):
        assert process.rpc == "the server is on another machine, and neither --callers nor --open was given"
        with pytest.raises(NoResponders):
            await client.rpc.jobs.get(JobsGetRequest(id="x"))


async def test_a_server_that_is_away_and_a_port_in_use(nats_server: NatsServer, tmp_path: Path) -> None:
    away = await run_trellis_here("admin", "serve", "--server", "nats://127.0.0.1:1", "--db", tmp_path / "a")
    metrics = await run_trellis_here("metrics", "--server", "nats://127.0.0.1:1")
    port = nats_server.url.rpartition(":")[2]
    used = await run_trellis_here(
        *("admin", "serve", "--server", nats_server.url, "--db", tmp_path / "b", "--metrics-port", port)
    )
    unknown = await run_trellis_here("admin", "serve", "--callers", tmp_path / "none", "--db", tmp_path / "c")

    assert (away.code, metrics.code, used.code, unknown.code) == (3, 3, 2, 2)
    for ended in (away, metrics, used, unknown):
        assert ended.error.startswith("trellis: ")
        assert "Traceback" not in ended.error
    assert "choose another port" in used.error


async def test_metrics_are_printed_once(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop:
        await shop.jobs.pack.create(Parcel(number=1))
        ended = await run_trellis_here(
            "metrics", "--server", nats_server.url, "--db", tmp_path / "jobs.sqlite"
        )

    assert ended.code == 0
    assert value(ended.out, "jobs", '{service="shop",queue="pack",state="pending"}') == 1
    assert value(ended.out, "projection_complete") == 1
    assert ended.error == ""


async def test_an_empty_server_has_metrics_too(nats_server: NatsServer, tmp_path: Path) -> None:
    ended = await run_trellis_here("metrics", "--server", nats_server.url, "--db", tmp_path / "jobs.sqlite")

    assert ended.code == 0
    assert value(ended.out, "projection_lag_events") == 0
