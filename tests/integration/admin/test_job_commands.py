"""`trellis jobs`, `dead`, `bulk` and `audit-log` on a real server: what they print, and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
from orders_participant import OrdersService
from trellis_nats import JobState
from trellis_nats.testing import NatsServer

from tests.house.sources import ROOT
from tests.support.lost_work import connection_of
from tests.support.operated import Operated, normalise, operated_shop
from tests.support.stored_jobs import store_jobs
from tests.support.trellis_command import run_trellis_here

IN_ONE_LOOP = pytest.mark.asyncio(loop_scope="module")
"""For tests of the shop that all of them share."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TRELLIS_ACTOR", "ada")


@pytest.fixture
async def operated(nats_server: NatsServer) -> AsyncGenerator[Operated]:
    async with operated_shop(nats_server) as shop:
        yield shop


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unchanged() -> AsyncGenerator[Operated]:
    """Run a shop for tests that change nothing."""
    async with NatsServer() as server, operated_shop(server) as shop:
        yield shop


@IN_ONE_LOOP
async def test_jobs_are_listed_with_how_many_there_are(unchanged: Operated) -> None:
    ended = await unchanged.run("jobs", "list", "--limit", "3")

    assert ended.code == 0, ended.error
    assert normalise(ended.out) == (
        "id  queue  state  attempts  created  changed  next  key  error\n"
        "<id1>  shop/charge  pending  0 of 5  <age>  <age>  -  -  -\n"
        "<id2>  shop/pack  completed  1 of 3  <age>  <age>  -  -  -\n"
        "<id3>  shop/pack  dead  3 of 3  <age>  <age>  -  -  TimeoutError: gateway 3 did not answer"
    )
    assert normalise(ended.error) == (
        "3 of 6 jobs, as of sequence <n>\nmore: trellis jobs list --limit 3 --at <n> --before <n>"
    )


@IN_ONE_LOOP
async def test_the_next_page_is_what_the_command_that_is_printed_lists(unchanged: Operated) -> None:
    first = await unchanged.run("jobs", "list", "--limit", "4", "--ids")
    again = first.error.splitlines()[-1].removeprefix("more: trellis ").split()
    second = await unchanged.run(*again, "--ids")

    assert len(first.out.split()) == 4
    assert {*first.out.split(), *second.out.split()} == {
        *unchanged.dead,
        *unchanged.completed,
        unchanged.waiting,
    }


@IN_ONE_LOOP
async def test_a_filter_and_its_shortcuts_mean_the_same(unchanged: Operated) -> None:
    words = await unchanged.run("jobs", "list", "state:completed", "queue:pack", "--ids")
    options = await unchanged.run("jobs", "list", "-s", "completed", "-q", "shop/pack", "--ids")

    both = await unchanged.run("jobs", "list", "state:completed", "queue:shop/pack", "--ids")
    other = await unchanged.run("jobs", "list", "queue:other/pack")

    assert words.out.split() == options.out.split() == both.out.split() == unchanged.completed[::-1]
    assert other.code == 2


@IN_ONE_LOOP
async def test_a_state_without_its_word_gets_a_hint(unchanged: Operated) -> None:
    bare = await unchanged.run("jobs", "list", "stale")
    right = await unchanged.run("jobs", "list", "state:stale", '"stale"')

    assert bare.error.startswith('"stale" is looked for as text; did you mean state:stale?\n')
    assert "did you mean" not in right.error


@IN_ONE_LOOP
async def test_nothing_that_matches_is_said(unchanged: Operated) -> None:
    ended = await unchanged.run("jobs", "list", "state:cancelled")

    assert (ended.code, ended.out) == (0, "")
    assert ended.error.startswith("no job matches, as of sequence ")


@IN_ONE_LOOP
async def test_jobs_are_listed_as_json_and_csv(unchanged: Operated) -> None:
    as_json = json.loads((await unchanged.run("jobs", "list", "state:dead", "--json")).out)
    as_csv = (await unchanged.run("jobs", "list", "state:dead", "--csv")).out.splitlines()

    assert (as_json["v"], as_json["kind"], as_json["filter"]) == (1, "jobs", "state:dead")
    assert as_json["page"]["total"] == {"number": 2, "isExact": True}
    assert [row["id"] for row in as_json["page"]["rows"]] == unchanged.dead[::-1]
    assert as_csv[0].startswith("id,service,queue,state,attempts,max_attempts")
    assert [line.split(",")[0] for line in as_csv[1:]] == unchanged.dead[::-1]


@IN_ONE_LOOP
async def test_a_job_is_shown_with_its_attempts_errors_and_logs(unchanged: Operated) -> None:
    shown = await unchanged.run("jobs", "show", unchanged.dead[0])
    text = normalise(shown.out)

    assert shown.code == 0, shown.error
    assert text.startswith("<id1>  dead, attempt 3 of 3\n  queue  shop/pack\n")
    assert "Attempt 3, dead\n  started <time> on " in text
    assert "  TimeoutError: gateway 1 did not answer\n" in text
    assert "  <clock> info  asking the gateway" in text
    assert text.count("attempt 1, <length>, retry") == 1
    assert "secret" not in shown.out


async def test_a_payload_is_shown_on_request_and_the_audit_log_says_to_whom(operated: Operated) -> None:
    shown = await operated.run("jobs", "show", operated.dead[0], "--payload", "--reason", "INC-1")
    as_json = json.loads((await operated.run("jobs", "show", operated.dead[0], "--json")).out)
    log = await operated.run("audit-log", "INC-1")

    assert '"note": "secret"' in shown.out
    assert as_json["job"]["payload"] is None
    assert "secret" not in json.dumps(as_json)
    assert "ada  command line  reveal payload" in normalise(log.out)


@IN_ONE_LOOP
async def test_dead_jobs_are_grouped_by_error(unchanged: Operated) -> None:
    ended = await unchanged.run("dead", "groups")

    lines = normalise(ended.out).splitlines()
    assert lines[0] == "group  jobs  queue  first  last  last 24 h  error"
    assert lines[1].split()[1:3] == ["2", "shop/pack"]
    assert lines[1].endswith("TimeoutError: gateway <number> did not answer")
    group = lines[1].split()[0]
    assert (
        ended.error
        == f"next: trellis dead list --group {group}, or trellis dead replay --group {group} --dry-run\n"
    )
    listed = await unchanged.run("dead", "list", "--group", group, "--ids")
    assert listed.out.split() == unchanged.dead[::-1]


async def test_a_shortened_id_is_that_of_one_job(operated: Operated) -> None:
    whole, short, other = "SHORTENED-ONE", "SHORTENED-O", "SHORTENED-TWO"
    await store_jobs(connection_of(operated.shop), 2, ids=[whole, other])
    shown = await operated.run("jobs", "show", f"trellis.jobs.shop.pack.{short}")
    too_short = await operated.run("jobs", "show", whole[:7])
    filtered = await operated.run("dead", "replay", "error:gateway")
    several = await operated.run("dead", "dismiss", whole[:9], "--json")
    still = await operated.run("jobs", "list", "id:SHORTENED", "state:dead", "--ids")
    dismissed = await operated.run("dead", "dismiss", short, whole)

    assert shown.out.startswith(f"{whole}  dead")
    assert (too_short.code, "may be shortened to 8 characters" in too_short.error) == (4, True)
    assert f'2 jobs begin with "SHORTEN": trellis.jobs.shop.pack.{whole}, ' in too_short.error
    assert (filtered.code, "If it is a filter" in filtered.error, "--matching" in filtered.error) == (
        4,
        True,
        True,
    )
    (result,) = json.loads(several.out)["jobs"]
    assert (several.code, result["done"]) == (2, False)
    prefix = "trellis.jobs.shop.pack"
    named = f"{prefix}.{whole}, {prefix}.{other}"
    assert result["why"] == f'several jobs begin with "SHORTENED": {named}; write more of the id'
    assert still.out.split() == [other, whole]
    assert (dismissed.code, dismissed.out) == (0, f"{whole} dismissed; it was dead, and is dismissed\n")


@IN_ONE_LOOP
async def test_groups_of_a_filter_and_a_group_that_does_not_exist(unchanged: Operated) -> None:
    found = await unchanged.run("dead", "groups", "error:TimeoutError", "created:>-1h", "--json")
    none = await unchanged.run("dead", "groups", "error:ValueError")
    listed = await unchanged.run("dead", "list", "--group", "00000000")
    replayed = await unchanged.run("dead", "replay", "--group", "no-group", "--yes")

    assert [group["jobs"] for group in json.loads(found.out)["groups"]] == [2]
    assert (none.code, none.error) == (0, "no dead job matches\n")
    assert (listed.code, replayed.code) == (4, 4)
    assert "`trellis dead groups` lists the groups" in replayed.error


async def test_a_dead_job_is_replayed_once(operated: Operated) -> None:
    operated.is_up = True
    first = await operated.run("dead", "replay", operated.dead[0], "--reason", "gateway is back")
    ended = await operated.shop.jobs.pack.ref(operated.dead[0]).wait()
    second = await operated.run("dead", "replay", operated.dead[0])
    shown = await operated.run("jobs", "show", operated.dead[0])

    assert (first.code, first.out) == (0, f"{operated.dead[0]} replayed; it was dead, and is pending\n")
    assert ended.state is JobState.COMPLETED
    assert second.code == 5
    assert "was not replayed" in second.error
    assert "retried by ada (command line): gateway is back" in normalise(shown.out)


async def test_a_dry_run_of_named_jobs_counts_them_and_changes_nothing(
    operated: Operated, tmp_path: Path
) -> None:
    dead, completed = operated.dead, operated.completed[0]
    edit = tmp_path / "payload.json"
    edit.write_text("{}")

    replay = await operated.run("dead", "replay", dead[0], dead[1][:20], "--dry-run")
    dismiss = await operated.run("dead", "dismiss", dead[0], "--dry-run", "--json")
    retry = await operated.run("jobs", "retry", completed, "--dry-run")
    unknown = await operated.run("jobs", "cancel", "01M8PRXMT1V6EVAZNGEAQ1BY9M", "--dry-run")
    edited = await operated.run("dead", "replay", dead[0], "--edit", str(edit), "--dry-run")

    assert (replay.code, dismiss.code, retry.code, unknown.code, edited.code) == (0, 0, 0, 4, 2), replay.error
    names = ",".join(f"trellis.jobs.shop.pack.{job}" for job in dead)
    assert replay.out.startswith(f"replay 2 jobs: id:{names} state:dead, as of sequence ")
    assert json.loads(dismiss.out)["plan"]["count"] == 1
    assert retry.out.startswith("retry 0 jobs: ")
    assert "leave out --edit" in edited.error
    assert {(await operated.shop.jobs.pack.ref(job).get()).state for job in dead} == {JobState.DEAD}


async def test_many_are_replayed_after_the_count_is_agreed(operated: Operated) -> None:
    operated.is_up = True
    dry = await operated.run("dead", "replay", "--matching", "queue:pack", "--dry-run")
    asked = await operated.run("dead", "replay", "--matching", "queue:pack")
    done = await operated.run("dead", "replay", "--matching", "queue:pack", "--yes", "--reason", "INC-2")
    listed = await operated.run("bulk", "list")

    assert (dry.code, asked.code, done.code) == (0, 5, 0), done.error
    assert normalise(dry.out) == (
        "replay 2 jobs: queue:pack state:dead, as of sequence <n>\n  checked  all of them\n  accepted  2"
    )
    assert "there is no terminal to ask on; pass --yes to agree" in asked.error
    assert "replay done: 2 of 2" in done.out
    for job in operated.dead:
        assert (await operated.shop.jobs.pack.ref(job).wait()).state is JobState.COMPLETED
    assert normalise(listed.out).splitlines()[1] == (
        "<id1>  replay  done  2 of 2  0  <age>  ada  INC-2  queue:pack state:dead"
    )


async def test_a_bulk_action_that_waits_says_what_follows_and_goes_on(operated: Operated) -> None:
    operated.is_up = True
    begun = await operated.run("dead", "replay", "-m", "state:dead", "--yes", "--begin-with", "1")
    bulk_id = begun.out.split("bulk action ")[1][:26]
    shown = await operated.run("bulk", "show", bulk_id[:12])
    too_short = await operated.run("bulk", "show", bulk_id[:4])
    gone_on = await operated.run("bulk", "go-on", bulk_id)
    again = await operated.run("bulk", "resume", bulk_id)

    assert begun.code == 0
    assert "replay waiting: 1 of 2" in begun.out
    assert f"next: trellis bulk go-on {bulk_id}" in shown.out
    assert (too_short.code, "may be shortened to 8 characters" in too_short.error) == (4, True)
    assert gone_on.code == 0, gone_on.error
    assert "replay done: 2 of 2" in gone_on.out
    assert again.code == 5


async def test_a_bulk_action_is_aborted(operated: Operated) -> None:
    begun = await operated.run("dead", "dismiss", "-m", "queue:pack", "--yes")
    replayed = await operated.run("dead", "list", "--ids")
    waits = await operated.run("jobs", "cancel", "-m", "queue:charge", "--yes", "--json")

    assert "dismiss done: 2 of 2" in begun.out
    assert "rate         as fast as possible" in begun.out
    assert "jobs now     2 dismissed" in begun.out
    assert replayed.out == ""
    assert json.loads(waits.out)["bulk"]["state"] == "done"


async def test_jobs_are_cancelled_and_each_outcome_is_said(operated: Operated) -> None:
    ended = await operated.run("jobs", "cancel", operated.waiting, operated.completed[0], "nothing-such")

    assert ended.code == 5
    assert ended.out == f"{operated.waiting} cancelled; it was pending, and is cancelled\n"
    assert "was not cancelled: it had completed" in ended.error
    assert 'there is no job "nothing-such"' in ended.error


@IN_ONE_LOOP
async def test_a_job_that_has_ended_is_watched_to_its_end(unchanged: Operated) -> None:
    completed = await unchanged.run("jobs", "watch", unchanged.completed[0])
    dead = await unchanged.run("jobs", "watch", unchanged.dead[0], "--json")

    assert completed.code == 0, completed.error
    assert [line.split()[3] for line in completed.out.splitlines()][-1] == "completed"
    assert dead.code == 1
    events = [json.loads(line) for line in dead.out.splitlines()]
    assert [event["event"]["kind"] for event in events if event["event"]["kind"] != "logged"] == [
        "created",
        *("started", "retry"),
        *("started", "retry"),
        *("started", "dead"),
    ]


async def test_the_audit_log_is_filtered_and_paged(operated: Operated) -> None:
    for _ in range(2):
        await operated.run("jobs", "cancel", operated.completed[0])
    await operated.run("jobs", "cancel", operated.waiting, "--reason", "INC-7", "--as", "bob")
    all_ = await operated.run("audit-log", "--limit", "1")
    refused = json.loads((await operated.run("audit-log", "outcome:refused", "--json")).out)

    assert all_.code == 0
    assert "bob  command line  cancel job" in normalise(all_.out)
    assert all_.error.startswith("more: trellis audit-log --limit 1 --before ")
    assert len(refused["page"]["entries"]) == 2


@IN_ONE_LOOP
@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["jobs", "list", "queue:pakc"], 2, 'no queue "pakc" has had a job; did you mean pack?'),
        (["jobs", "list", "sate:dead"], 2, "did you mean state?"),
        (["jobs", "list", "state:daed"], 2, "did you mean dead?"),
        (["jobs", "list", "created:yesterday"], 2, "is not a time"),
        (["jobs", "show", "no-such-job"], 4, 'there is no job "no-such-job"'),
        (["jobs", "show", "*"], 4, 'there is no job "*"'),
        (["jobs", "retry", "no-such-job"], 4, "there is no job"),
        (["jobs", "cancel", "-m", "state:dead", "--yes"], 5, "cancel takes jobs that are"),
        (["bulk", "show", "nothing"], 4, "nothing"),
        (["bulk", "abort", "nothing"], 4, "nothing"),
        (["keys", "list", "shipp"], 2, 'no queue "shipp" has had a job'),
        (["audit-log", "actr:ada"], 2, "did you mean actor?"),
    ],
)
async def test_bad_input_ends_with_a_sentence_and_a_code(
    unchanged: Operated, arguments: list[str], code: int, text: str
) -> None:
    ended = await unchanged.run(*arguments)

    assert text in ended.error
    assert ended.code == code
    assert ended.error.startswith("trellis: ")
    assert "Traceback" not in ended.error


@pytest.mark.parametrize(
    "arguments",
    [
        ["jobs", "list"],
        ["jobs", "show", "x"],
        ["jobs", "cancel", "x"],
        ["dead", "groups"],
        ["bulk", "list"],
        ["keys", "list", "x"],
        ["audit-log"],
        ["doctor"],
    ],
    ids=" ".join,
)
async def test_a_server_that_is_not_there_is_a_sentence(arguments: list[str]) -> None:
    ended = await run_trellis_here(*arguments, "--server", "nats://127.0.0.1:1")

    assert ended.code == 3
    assert ended.error.startswith("trellis: ")
    assert len(ended.error.splitlines()) == 1


def test_a_pipe_that_is_closed_ends_the_command_quietly(nats_server: NatsServer, tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'from trellis_admin.cli import main; main()' jobs list --json --server {nats_server.url}"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "admin")}
    ended = subprocess.run(
        ["/bin/bash", "-c", f"{command} | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )

    assert ended.stderr == ""
    assert ended.stdout in {"141\n", "0\n"}


async def test_stale_jobs_are_created_again(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as orders:
        (stale,) = await store_jobs(
            orders.jobs.runtime.connection,
            1,
            "stale",
            service="orders-service",
            queue="sync-tickets",
            created={"payload": {"origin": "acme"}},
        )
        server, contract = ("--server", nats_server.url), ("--contract", "orders_participant")
        listed = await run_trellis_here("queues", "list", *server)
        without = await run_trellis_here("jobs", "recreate", stale, *server)
        retried = await run_trellis_here("jobs", "retry", stale, *server)
        many = await run_trellis_here("dead", "replay", "--matching", "state:stale", *server)
        done = await run_trellis_here("jobs", "recreate", stale, *server, *contract)
        again = await run_trellis_here("jobs", "recreate", stale, "--json", *server, *contract)
        await store_jobs(
            orders.jobs.runtime.connection,
            1,
            "stale",
            service="orders-service",
            queue="sync-tickets",
            created={"payload": {"origin": "hooli"}},
        )
        matching = ("jobs", "recreate", "--matching", "queue:sync-tickets", *server)
        unknown = await run_trellis_here(*matching)
        dry = await run_trellis_here(*matching, *contract, "--dry-run")
        unasked = await run_trellis_here(*matching, *contract)
        all_done = await run_trellis_here(*matching, *contract, "--yes")
        nothing = await run_trellis_here(*matching, *contract, "--yes")

    assert "  stale  " in listed.out
    assert (without.code, retried.code, done.code, again.code) == (2, 5, 0, 5), done.error
    assert "name a generated package (`--contract PACKAGE`" in without.error
    assert "create a new job with its payload, with `trellis jobs recreate`" in retried.error
    assert many.code == 5
    assert "the filter asks for states that exclude each other; a stale job does not run again" in many.error
    assert normalise(done.out) == (
        "<id1> stays stale; created again as <id2>\nnext: trellis jobs watch <id2>"
    )
    assert json.loads(again.out)["jobs"][0]["done"] is False
    assert [one.code for one in (unknown, dry, unasked, all_done, nothing)] == [2, 0, 5, 0, 0], all_done.error
    assert "no contract is known: name a generated package (`--contract PACKAGE`" in unknown.error
    assert dry.out.startswith("recreate 1 job: queue:sync-tickets state:stale, as of sequence")
    assert "recreate done: 1 of 1" in all_done.out
    assert nothing.out.startswith("recreate 0 jobs: ")
