"""Each fault of the runtime that we can think of is found by a scenario, and the runtime without it passes there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.ids import new_id
from trellis_nats.testing import NatsServer

from tests.faults.harness.dump import created_event
from tests.faults.harness.history import What, read_history
from tests.faults.harness.scenario import Scenario, scenario
from tests.faults.harness.table import ROWS
from tests.faults.harness.wiretap import Step, Wiretap
from tests.faults.mutants import MUTANTS
from tests.support.eventually import eventually

SHORT: Final = timedelta(seconds=8)
"""How long the queue may take to run dry; with a mutant it may never do so."""
SECOND: Final = 1_000_000_000

Trial = Callable[[NatsServer, Path, str], Awaitable[bool]]
"""Runs a scenario, and returns whether its verdict is as it should be."""


@asynccontextmanager
async def trying(
    server: NatsServer, folder: Path, mutant: str, queue: str = "brief", **settings: object
) -> AsyncGenerator[Scenario]:
    name = f"mutant {mutant}" if mutant else "no mutant"
    async with scenario(name, server.url, folder, queue=queue) as it:
        it.crew.settings = it.crew.settings.model_copy(update={"mutant": mutant, **settings})
        yield it


async def killed_before_its_outcome_is_stored(server: NatsServer, folder: Path, mutant: str) -> bool:
    async with Wiretap(server.port) as tap, trying(server, folder, mutant) as it:
        (doomed,) = await it.crew.hire(url=tap.url)

        def kill() -> bool:
            doomed.kill()
            return False

        tap.at(Step.OUTCOME_SENT, kill)
        await it.submit(ends=("completed",))
        await doomed.ended()
        await it.crew.hire()
        return (await it.verdict(SHORT)).is_clean


async def delivered_after_its_end(server: NatsServer, folder: Path, mutant: str) -> bool:
    async with trying(server, folder, mutant) as it:
        await it.crew.hire()
        ref = await it.submit(ends=("completed",))
        assert ref is not None
        await ref.wait(timeout=SHORT)
        await delivered_again(it, ref.id)
        return (await it.verdict(SHORT)).is_clean


async def frozen_while_it_works(server: NatsServer, folder: Path, mutant: str) -> bool:
    async with trying(server, folder, mutant) as it:
        (frozen,) = await it.crew.hire()
        ref = await it.submit(seconds=0.3, ends=("completed",))
        assert ref is not None
        await it.entered(ref)
        frozen.freeze()
        await it.crew.hire()
        await it.entered(ref, tries=2)
        await ref.wait(timeout=SHORT)
        frozen.thaw()
        await it.exited(ref, tries=1)
        await it.crew.dismiss(frozen)
        return (await it.verdict(SHORT)).is_clean


async def longer_than_three_ack_waits(server: NatsServer, folder: Path, mutant: str) -> bool:
    async with trying(server, folder, mutant) as it:
        await it.crew.hire(2)
        await it.submit(seconds=3.2, ends=("completed",))
        return (await it.verdict(SHORT)).is_quiet


async def delivered_while_it_works(server: NatsServer, folder: Path, mutant: str) -> bool:
    async with trying(server, folder, mutant) as it:
        await it.crew.hire(2)
        ref = await it.submit(seconds=1.5, ends=("completed",))
        assert ref is not None
        await it.entered(ref)
        await delivered_again(it, ref.id)
        verdict = await it.verdict(SHORT)
        return verdict.is_clean and len(verdict.runs) == 1


async def delivered_as_it_begins(server: NatsServer, folder: Path, mutant: str) -> bool:
    """Its worker does not know yet that `started` is stored."""
    async with Wiretap(server.port) as tap, trying(server, folder, mutant) as it:
        await it.crew.hire(url=tap.url)
        tap.drop(Step.STARTED_STORED)
        ref = await it.submit(seconds=1.5, ends=("completed",))
        assert ref is not None
        await eventually(lambda: not tap.waits)
        await it.crew.hire()
        await delivered_again(it, ref.id)
        verdict = await it.verdict(SHORT)
        return verdict.is_clean and (len(verdict.runs), verdict.end_tries) == (1, {1: 1})


async def stopped_while_it_works(server: NatsServer, folder: Path, mutant: str) -> bool:
    """The job goes over within a second, and in its first try."""
    async with trying(server, folder, mutant, queue="grind", grace=0.05) as it:
        (first,) = await it.crew.hire()
        ref = await it.submit(seconds=3, ends=("completed",))
        await it.entered(ref)
        await it.crew.hire()
        await it.crew.dismiss(first)
        verdict = await it.verdict(SHORT)
        if len(verdict.runs) != 2 or not verdict.is_clean:
            return False
        interrupted, taken = verdict.runs
        return verdict.end_tries == {1: 1} and taken.enter - interrupted.end < SECOND


async def cancelled_while_it_works(server: NatsServer, folder: Path, mutant: str) -> bool:
    """The handler hears of it within a second."""
    async with trying(server, folder, mutant) as it:
        await it.crew.hire()
        ref = await it.submit(seconds=3, heeds=True, ends=("cancelled",))
        assert ref is not None
        await it.entered(ref)
        await it.cancel(ref)
        verdict = await it.verdict(SHORT)
        asked = [each.at for each in read_history(it.history.path) if each.what is What.CANCEL]
        return verdict.is_clean and verdict.runs[0].end - asked[0] < SECOND


async def more_jobs_than_hands(server: NatsServer, folder: Path, mutant: str) -> bool:
    async with trying(server, folder, mutant, concurrency=2) as it:
        await it.crew.hire()
        await it.submit_many(20, seconds=0.1, ends=("completed",))
        return (await it.verdict(SHORT)).is_quiet


async def poisoned(server: NatsServer, folder: Path, mutant: str) -> bool:
    async with trying(server, folder, mutant) as it:
        ref = await it.submit(ends=("completed",))
        assert ref is not None
        poison = json.loads(await created_event(it.connection, it.queue, ref.id))
        job = poison["jobId"] = new_id()
        poison["payload"] = {"number": "no number"}
        it.history.write(What.SUBMIT, job, ends=["failed"])
        await publish_acked(
            it.connection, f"trellis.jobs.mill.{it.queue}.{job}.created", json.dumps(poison).encode()
        )
        it.history.write(What.ACCEPTED, job)
        await it.crew.hire()
        return (await it.verdict(SHORT)).is_clean


async def raising_in_every_try(server: NatsServer, folder: Path, mutant: str) -> bool:
    async with trying(server, folder, mutant) as it:
        await it.crew.hire()
        await it.submit(raises=99, ends=("dead",))
        verdict = await it.verdict(SHORT)
        return verdict.is_clean and len(verdict.runs) == 5


async def server_killed_while_jobs_are_created(server: NatsServer, folder: Path, mutant: str) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        if mutant:
            MUTANTS[mutant](patch)
        async with trying(server, folder, "") as it:
            it.name = f"mutant {mutant}" if mutant else it.name
            await it.crew.hire()
            await asyncio.to_thread(server.pause)
            submitting = asyncio.create_task(it.submit_many(50, ends=("completed",)))
            await asyncio.sleep(0.5)  # every one is under way by then
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(17)  # longer than three writes take: the server is away
            await asyncio.to_thread(server.start)
            await submitting
            return (await it.verdict(SHORT)).is_clean


async def server_killed_while_all_is_idle(server: NatsServer, folder: Path, mutant: str) -> bool:
    async with trying(server, folder, mutant) as it:
        await it.crew.hire()
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await it.connection.wait_connected()
        await it.submit_many(10, ends=("completed",))
        return (await it.verdict(SHORT)).is_clean


async def delivered_again(it: Scenario, job: str) -> None:
    created = await created_event(it.connection, it.queue, job)
    await publish_acked(it.connection, f"trellis.work.mill.{it.queue}", created)


TRIALS: Final[dict[str, Trial]] = {
    "ack_before_the_outcome": killed_before_its_outcome_is_stored,
    "no_terminal_gate": delivered_after_its_end,
    "no_fence": frozen_while_it_works,
    "no_heartbeats": longer_than_three_ack_waits,
    "take_over_without_asking": delivered_while_it_works,
    "claimed_once_begun": delivered_as_it_begins,
    "release_keeps_the_try": stopped_while_it_works,
    "nothing_given_back": stopped_while_it_works,
    "cancellation_never_looked_at": cancelled_while_it_works,
    "twice_the_concurrency": more_jobs_than_hands,
    "poison_tried_again": poisoned,
    "one_try_too_many": raising_in_every_try,
    "create_without_waiting": server_killed_while_jobs_are_created,
    "lost_requests_ignored": server_killed_while_all_is_idle,
}


def test_every_mutant_has_a_scenario() -> None:
    assert TRIALS.keys() == MUTANTS.keys()


@pytest.mark.parametrize("mutant", TRIALS)
async def test_the_mutant_is_found_and_the_runtime_passes(
    nats_server: NatsServer, tmp_path: Path, mutant: str
) -> None:
    trial = TRIALS[mutant]
    assert await trial(nats_server, tmp_path / "without", ""), "the runtime itself does not pass"
    async with NatsServer() as another:
        assert not await trial(another, tmp_path / "with", mutant), "the mutant is not found"
    ROWS[:] = [row for row in ROWS if "mutant" not in row.name]
