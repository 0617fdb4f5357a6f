"""No option of `trellis` is accepted and then ignored: it counts, or the command is refused before anything is done."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from orders_participant import OrdersService
from pydantic import JsonValue
from trellis_admin.bulk.store import BulkStore
from trellis_nats import JobState
from trellis_nats.testing import NatsServer

from tests.house.sources import ROOT
from tests.support.lost_work import connection_of
from tests.support.operated import operated_shop
from tests.support.shop import Shop
from tests.support.stored_jobs import store_jobs
from tests.support.trellis_command import run_trellis_here


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


async def test_a_named_job_whose_payload_the_contract_refuses_is_not_sent_again(
    nats_server: NatsServer,
) -> None:
    bad: dict[str, JsonValue] = {"payload": {"orderId": "o-1", "customerId": "c-1"}}
    async with OrdersService.connect(nats_server.url) as orders:
        connection = orders.jobs.runtime.connection
        (dead,) = await store_jobs(
            connection, 1, service="orders-service", queue="charge-payment", created=bad
        )
        server = ("--server", nats_server.url)
        another = "trellis_admin.rpc.trellis_jobs_participant"
        checked = (*server, "--contract", another, "--contract", "orders_participant")
        refused = await run_trellis_here("dead", "replay", dead, *checked)
        log = await run_trellis_here("audit-log", "outcome:refused", "--json", *server)
        replayed = await run_trellis_here("dead", "replay", dead, *server)

    assert (refused.code, refused.out) == (5, "")
    assert f"job {dead} was not replayed: its last attempt had failed " in refused.error
    assert "does not read it: /amountCents" in refused.error
    assert [entry["record"]["target"]["job"] for entry in json.loads(log.out)["page"]["entries"]] == [dead]
    assert replayed.code == 0, replayed.error


async def test_what_is_for_many_jobs_is_refused_where_jobs_are_named(nats_server: NatsServer) -> None:
    async with operated_shop(nats_server) as operated:
        named = [
            ("dead", "replay", operated.dead[0], "--begin-with", "1"),
            ("dead", "replay", operated.dead[0], "--all-at-once"),
            ("dead", "dismiss", operated.dead[0], "--rate", "1"),
            ("jobs", "cancel", operated.waiting, "--rate", "1"),
            ("jobs", "retry", operated.dead[0], "--begin-with", "1"),
        ]
        both = ("dead", "replay", "-m", "queue:pack", "--yes", "--begin-with", "1", "--all-at-once")
        fast = ("dead", "replay", "-m", "queue:pack", "--yes", "--rate", "5001")
        looked = ("jobs", "show", operated.dead[0], "--reason", "INC-1")
        empty = ("dead", "replay", "--matching", " ", "--yes")
        refused = (*named, both, fast, empty, looked)
        ended = [await operated.run(*arguments) for arguments in refused]

        states = [(await operated.shop.jobs.pack.ref(job).get()).state for job in operated.dead]

    assert [one.code for one in ended] == [2] * len(ended)
    assert "--begin-with: jobs that are named by id are acted upon at once" in ended[0].error
    assert "--matching: the filter is empty, and every job would match" in ended[-2].error
    assert "add --payload" in ended[-1].error
    assert states == [JobState.DEAD, JobState.DEAD]


async def test_a_dry_run_of_a_named_job_counts_no_other_one(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        connection = connection_of(shop)
        await store_jobs(connection, 2, ids=["NAMED-JOB", "NAMED-JOB-2"])
        await store_jobs(connection, 1, queue="ship", ids=["NAMED-JOB"])
        job = "trellis.jobs.shop.pack.NAMED-JOB"
        dry = await run_trellis_here("dead", "replay", job, "--dry-run", "--server", nats_server.url)

    assert dry.out.startswith(f"replay 1 job: id:{job} state:dead, as of sequence "), dry.error


async def test_the_next_page_has_the_order_of_the_first(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ids = await store_jobs(connection_of(shop), 3)
        server = ("--server", nats_server.url, "--ids")
        first = await run_trellis_here("dead", "list", "--sort", "newest", "--limit", "2", *server)
        again = first.error.splitlines()[-1].removeprefix("more: trellis ").split()
        second = await run_trellis_here(*again, *server)

    assert "--sort newest" in first.error
    assert sorted([*first.out.split(), *second.out.split()]) == sorted(ids)


async def test_a_bulk_action_goes_on_whose_process_died_after_it_had_begun_to_wait(
    nats_server: NatsServer,
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        connection = connection_of(shop)
        await store_jobs(connection, 3)
        server = ("--server", nats_server.url)
        begun = await run_trellis_here(
            "dead", "replay", "-m", "queue:pack", "--yes", "--begin-with", "1", *server
        )
        bulk_id = begun.out.split("bulk action ")[1][:26]
        await BulkStore(connection).change(bulk_id, lambda record: replace(record, runner="gone"))
        gone_on = await run_trellis_here("bulk", "go-on", bulk_id, "--reason", "INC-3", *server)
        log = await run_trellis_here("audit-log", "INC-3", *server)

    assert gone_on.code == 0, gone_on.error
    assert "replay done: 3 of 3" in gone_on.out
    assert "resume bulk" in log.out


async def test_who_watches_a_bulk_action_learns_that_it_was_aborted(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        await store_jobs(connection_of(shop), 2)
        server = ("--server", nats_server.url)
        begun = await run_trellis_here(
            "dead", "replay", "-m", "queue:pack", "--yes", "--begin-with", "1", *server
        )
        bulk_id = begun.out.split("bulk action ")[1][:26]
        waits = await run_trellis_here("bulk", "watch", bulk_id, *server)
        await run_trellis_here("bulk", "abort", bulk_id, *server)
        aborted = await run_trellis_here("bulk", "watch", bulk_id, "--json", *server)

    assert (waits.code, aborted.code) == (0, 5)
    assert json.loads(aborted.out)["bulk"]["state"] == "aborted"


async def test_an_option_before_a_command_that_would_not_get_it_is_refused(tmp_path: Path) -> None:
    ended = await run_trellis_here(
        *("audit", "--server", "nats://127.0.0.1:1", "export", tmp_path),
        *("--against", "orders_participant", "--sample", "1"),
    )

    assert ended.code == 2
    assert "--server: write it after export" in ended.error


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["admin", "serve", "--no-rpc", "--callers", "callers.json"], "--callers"),
        (["admin", "serve", "--no-rpc", "--open"], "--open"),
        (["admin", "serve", "--no-duties", "--grace", "5"], "--grace"),
        (["admin", "serve", "--metrics-host", "127.0.0.2"], "--metrics-host"),
        (["audit", "--service", "main:service", "--with", "contracts"], "--with"),
        (["web", "--operator", "anna"], "--operator"),
        (["web", "--web-token", "t" * 20, "--viewer", "anna"], "--viewer"),
        (["web", "--proxy", "10.0.0.1"], "--proxy"),
    ],
)
async def test_an_option_without_the_one_that_it_is_about_is_refused(
    arguments: list[str], option: str
) -> None:
    ended = await run_trellis_here(*arguments, "--server", "nats://127.0.0.1:1")

    assert (ended.code, option in ended.error) == (2, True), ended.error


def test_a_closed_pipe_does_not_look_like_a_finding(nats_server: NatsServer) -> None:
    command = "import sys; from trellis_admin.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", command, "doctor", "--json", "--server", nats_server.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        error = process.stderr.read()

    assert (process.returncode, error) == (141, b"")
