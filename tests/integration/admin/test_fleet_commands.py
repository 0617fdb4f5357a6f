"""`trellis queues`, `workers`, `keys`, `tail` and `top` on a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from trellis_nats import JobRef, JobState
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.kv import kv_stream
from trellis_nats.binding import keys_bucket_of
from trellis_nats.jobs.pause import QueueConsumer
from trellis_nats.jobs.pause.consumer_hold import hold_consumer
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.lost_work import connection_of
from tests.support.operated import Operated, normalise, operated_shop
from tests.support.shop import Parcel
from tests.support.trellis_command import run_trellis_here


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TRELLIS_ACTOR", "ada")


@pytest.fixture
async def operated(nats_server: NatsServer) -> AsyncGenerator[Operated]:
    async with operated_shop(nats_server) as shop:
        yield shop


async def test_queues_are_listed_with_what_waits_and_what_is_dead(operated: Operated) -> None:
    ended = await operated.run("queues")
    as_json = json.loads((await operated.run("queues", "--json")).out)

    lines = normalise(ended.out).splitlines()
    assert lines[0] == (
        "queue  waiting  oldest  running  retrying  dead  stale  ended/min  success  run p95  workers  is"
    )
    assert lines[1].split("  ")[0:2] == ["shop/charge", "1"]
    assert lines[1].endswith("no worker")
    assert lines[2].split("  ")[0:6] == ["shop/pack", "0", "-", "0 of 1", "0", "2"]
    assert lines[2].endswith("1  open")
    assert {row["queue"]: row["dead"] for row in as_json["queues"]} == {
        "charge": 0,
        "pack": 2,
        "ship": 0,
    }


async def test_a_paused_queue_is_shown_with_who_and_why_and_goes_on(operated: Operated) -> None:
    paused = await operated.run("queues", "pause", "pack", "--reason", "gateway is down")
    again = await operated.run("queues", "pause", "shop/pack")
    ref = await operated.shop.jobs.pack.create(Parcel(number=8))
    listed = await operated.run("queues", "list")
    state = (await ref.get()).state
    resumed = await operated.run("queues", "resume", "pack")
    ended = await ref.wait()
    not_paused = await operated.run("queues", "resume", "pack")
    await hold_consumer(connection_of(operated.shop), QueueConsumer("JOBS_WORK", "shop__pack"))
    held = await operated.run("queues")
    held_json = json.loads((await operated.run("queues", "--json")).out)

    assert normalise(paused.out).startswith("pack was paused <age> by ada: gateway is down\n")
    assert "it was paused already" in again.out
    assert "shop/pack was paused <age> by ada: gateway is down" in normalise(listed.error)
    assert "paused" in listed.out
    assert (state, ended.state) == (JobState.PENDING, JobState.COMPLETED)
    assert normalise(resumed.out) == "pack goes on; ada had paused it <age>"
    assert not_paused.out == (
        "pack had no record of a pause; if the server held its consumers all the same, it does no longer\n"
    )
    assert held.out.splitlines()[2].endswith("  held")
    assert held.error == (
        "ended/min, success and run p95: the last 60 min; --window changes that\n"
        "shop/pack is held by the server, and no record says who paused it: trellis queues resume shop/pack lets it go on\n"
    )
    assert held_json["held"] == ["shop/pack"]


async def test_resuming_without_the_bucket_of_pauses_says_that_workers_stay_paused(
    operated: Operated,
) -> None:
    bucket = keys_bucket_of("shop")
    await call(connection_of(operated.shop), f"STREAM.DELETE.{kv_stream(bucket)}", {})

    resumed = await operated.run("queues", "resume", "pack")

    assert resumed.out.startswith(f"pack has no record of a pause, because bucket {bucket} does not exist; ")
    assert "workers that had seen one stay paused" in resumed.out


async def test_workers_are_listed(operated: Operated) -> None:
    ended = await operated.run("workers")
    as_json = json.loads((await operated.run("workers", "--json", "--service", "shop")).out)
    other = await operated.run("workers", "--service", "nothing")

    assert ended.code == 0
    assert normalise(ended.out).splitlines()[1].startswith("<id1>  shop  alive  ")
    assert [queue["queue"] for queue in as_json["workers"][0]["queues"]] == ["pack", "ship"]
    assert other.error == "no worker has sent a heartbeat within a day\n"


async def test_the_audit_names_the_option_that_others_call_contract() -> None:
    ended = await run_trellis_here("audit", "--contract", "x")

    assert ended.error.endswith(". Did you mean --against? See trellis audit --help\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["jobs", "show"], "trellis: missing argument 'ID'; see trellis jobs show --help"),
        (["jobs", "sho"], "trellis: no such command 'sho'. Did you mean 'show'? See trellis jobs --help"),
        (
            ["queues", "list", "--windw", "3"],
            "trellis: no such option: --windw (Possible options: --window); see",
        ),
        (
            ["dead", "--server", "x"],
            "trellis: no such option: --server (options follow a command: trellis dead COMMAND); see",
        ),
        (
            ["audit", "--contract", "x"],
            "trellis: no such option: --contract",
        ),
        (
            ["audit", "shop.json"],
            "trellis: no such command 'shop.json'. Did you mean --against shop.json? See trellis audit --help",
        ),
        (
            ["workers", "lst"],
            "trellis: no such command 'lst'. Did you mean 'list'? See trellis workers --help",
        ),
    ],
)
async def test_a_mistake_in_a_command_is_answered_in_one_line(arguments: list[str], text: str) -> None:
    ended = await run_trellis_here(*arguments)

    assert (ended.code, ended.out) == (2, "")
    assert ended.error.startswith(text)
    assert ended.error.count("\n") == 1


async def test_a_group_without_a_command_prints_its_help() -> None:
    ended = await run_trellis_here("jobs")

    assert (ended.code, ended.error) == (2, "")
    assert "Usage: trellis jobs" in ended.out


async def test_a_running_job_shows_its_stack_and_keeps_its_key(operated: Operated) -> None:
    held = await operated.shop.jobs.ship.create(Parcel(number=7))
    await eventually(lambda: is_active(held))
    stack = await operated.run("jobs", "stack", held.id)
    no_stack = await operated.run("jobs", "stack", operated.completed[0])
    listed = await operated.run("keys", "list", "ship")
    counted = await operated.run("keys", "list")
    shown = await operated.run("keys", "show", "ship", "7")
    unknown = await operated.run("keys", "show", "ship", "nine")
    free = await operated.run("keys", "release", "ship", "nine")
    refused = await operated.run("keys", "release", "ship", "7")

    assert stack.code == 0, stack.error
    assert "attempt 1 on" in stack.out
    assert "operated.py" in stack.out
    assert no_stack.code == 1
    assert "no process answered that it runs job" in no_stack.error
    assert listed.code == shown.code == 0, listed.error + shown.error
    assert held.id in listed.out + shown.out
    assert "1 of 1 key that jobs hold or wait for" in listed.error
    assert normalise(counted.out).splitlines() == ["queue  keys  blocked  held", "shop/ship  1  0  1"]
    assert "next: trellis keys list shop/ship" in counted.error
    assert (unknown.code, free.code, refused.code) == (5, 5, 5)
    assert "answers that it works on job" in refused.error
    assert 'has no key "nine"' in unknown.error


async def is_active(ref: JobRef[Any, Any, Any]) -> bool:
    return (await ref.get()).state is JobState.ACTIVE


async def test_events_are_printed_as_they_are_stored(operated: Operated) -> None:
    async def create_when_ready() -> None:
        while not tailing.done():
            await operated.shop.jobs.pack.create(Parcel(number=2))
            await asyncio.sleep(0.2)

    tailing = asyncio.ensure_future(
        operated.run(
            *("tail", "-q", "pack", "-e", "created", "-e", "completed", "--reports"),
            *("--number", "4", "--json"),
        )
    )
    await create_when_ready()
    ended = await tailing

    assert ended.code == 0, ended.error
    events = [json.loads(line)["event"] for line in ended.out.splitlines()]
    assert {event["queue"] for event in events} == {"pack"}
    kinds = {event["kind"] for event in events}
    assert "logged" in kinds
    assert kinds <= {"created", "completed", "logged"}
    assert "payload" not in ended.out


async def test_an_unknown_event_and_an_unknown_queue_are_refused(operated: Operated) -> None:
    event = await operated.run("tail", "-e", "exploded")
    queue = await operated.run("queues", "pause", "pakc")

    assert event.code == 2
    assert "is not an event" in event.error
    assert (queue.code, queue.error) == (2, 'trellis: no queue "pakc" has had a job; did you mean pack?\n')


async def test_top_is_printed_once_where_there_is_no_terminal(operated: Operated) -> None:
    ended = await operated.run("top")

    assert ended.code == 0
    assert "shop/pack" in ended.out
    assert normalise(ended.out).splitlines()[-1].endswith("UTC, sequence <n>")


async def test_the_index_is_compared_with_the_stream(operated: Operated) -> None:
    ended = await operated.run("doctor", "--projection", "--json")

    found = {finding["check"] for finding in json.loads(ended.out)["findings"]}
    assert "queue-without-workers" in found
    assert "projection-differs" not in found


async def test_an_empty_server_is_not_an_error(nats_server: NatsServer) -> None:
    for command in (
        ["queues"],
        ["workers"],
        ["jobs", "list"],
        ["dead", "groups"],
        ["bulk"],
        ["audit-log"],
        ["top"],
    ):
        ended = await run_trellis_here(*command, "--server", nats_server.url)

        assert ended.code == 0, ended.error
        assert "Traceback" not in ended.error
