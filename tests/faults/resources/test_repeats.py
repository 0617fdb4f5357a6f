"""The same job asked for twice, sent twice, or sent again by an operator; deadlines that pass."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import StoredMessage, get_last_message
from trellis_nats.clock import now, timestamp
from trellis_nats.jobs.model.creation import derive_id
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.testing import NatsServer

from tests.faults.harness.dump import dumped
from tests.faults.harness.history import What
from tests.faults.harness.mill import Grain
from tests.faults.harness.scenario import Scenario, scenario
from tests.faults.injection.forging import EVENTS, WORK
from tests.support.python_process import ROOT

JOBS: Final = 3_000
PROCESSES: Final = 2
CREATE: Final = """
import asyncio, sys
from tests.faults.harness.mill import Grain, Mill

async def main():
    async with Mill.connect(sys.argv[1]) as mill:
        create = mill.jobs.grind.create
        for start in range(0, int(sys.argv[2]), 50):
            keys = [f"key-{number}" for number in range(start, start + 50)]
            refs = await asyncio.gather(*(create(Grain(number=1), idempotency_key=key) for key in keys))
            print(*(ref.id for ref in refs), sep="\\n")

asyncio.run(main())
"""


async def created_by_another_process(url: str) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CREATE, url, str(JOBS)), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return said.decode().split()


async def newest_events(it: Scenario, ids: Sequence[str]) -> list[LifecycleEvent]:
    found: list[LifecycleEvent] = []
    for job in ids:
        stored = await get_last_message(it.connection, "JOBS", f"{EVENTS}.{job}.>")
        event = None if stored is None else LifecycleEvent.parse(stored.data)
        assert event is not None
        found.append(event)
    return found


@pytest.mark.timeout(180)
async def test_one_key_in_several_processes_at_once_is_one_job(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with scenario("one key, 3 creators", nats_server.url, tmp_path) as it:
        await it.crew.hire(2)
        for number in range(JOBS):
            job = derive_id("mill", "grind", f"key-{number}")
            it.history.write(What.SUBMIT, job, ends=["completed"])
            it.history.write(What.ACCEPTED, job)

        async def own() -> list[str]:
            create = it.mill.jobs.grind.create
            return [
                (await create(Grain(number=1), idempotency_key=f"key-{number}")).id for number in range(JOBS)
            ]

        all_ids = await asyncio.gather(
            own(), *(created_by_another_process(nats_server.url) for _ in range(PROCESSES))
        )
        verdict = await it.verdict()
        records = (await dumped(it.connection)).records

    assert all(ids == all_ids[0] for ids in all_ids), "every creator got the same job for the same key"
    assert verdict.is_quiet, str(verdict)
    assert len(verdict.runs) == JOBS
    assert sum(record.event == "created" for record in records) == JOBS


async def stored_created(it: Scenario, job: str) -> StoredMessage:
    stored = await get_last_message(it.connection, "JOBS", f"{EVENTS}.{job}.created")
    assert stored is not None
    return stored


@pytest.mark.timeout(180)
async def test_events_and_work_that_are_published_again_run_nothing_twice(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Every created event is sent three times more, and its work message too: before, while and after it runs."""
    async with scenario("created and work again", nats_server.url, tmp_path) as it:
        await it.crew.hire(2)

        async def again(job: str) -> None:
            stored = await stored_created(it, job)
            for pause in (0, 0, 0.5):
                await asyncio.sleep(pause)
                ack = await publish_acked(
                    it.connection, stored.subject, stored.data, message_id=f"{job}.created"
                )
                assert ack.duplicate
                await publish_acked(it.connection, WORK, stored.data)

        for _ in range(JOBS // 100):
            before = len(it.refs)
            await it.submit_many(100, at_once=20, seconds=0.02, ends=("completed",))
            await asyncio.gather(*(again(ref.id) for ref in it.refs[before:]))
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert (verdict.duplicates, verdict.again) == (0, 0)
    assert len(verdict.runs) == JOBS


@pytest.mark.timeout(120)
@pytest.mark.xfail(reason="a second created event restarts the lifecycle of the job", strict=True)
async def test_a_second_created_event_outside_of_the_window_is_ignored(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Our own creates are fenced; a runtime that does not fence its own stores the event again."""
    async with scenario("created again, unfenced", nats_server.url, tmp_path) as it:
        await it.crew.hire(2)
        await it.submit_many(100, ends=("completed",))
        await it.drained()
        for ref in it.refs:
            stored = await stored_created(it, ref.id)
            await publish_acked(it.connection, stored.subject, stored.data, message_id=f"{ref.id}.again")
        verdict = await it.verdict(timedelta(seconds=5))

    assert verdict.is_clean, str(verdict)
    assert (verdict.duplicates, verdict.again) == (0, 0)
    assert len(verdict.runs) == 100


@pytest.mark.timeout(180)
async def test_a_dead_job_that_is_sent_again_while_its_old_message_is_there_runs_once(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """The old messages come after the new ones, as from a server that forgot that they were acknowledged."""
    jobs = 500
    async with scenario("retried next to old work", nats_server.url, tmp_path, queue="grind") as it:
        await it.crew.hire(2)
        await it.submit_many(jobs, at_once=20, raises=30, ends=("completed",))
        await it.drained()
        ids = [ref.id for ref in it.refs]
        for event in await newest_events(it, ids):
            assert event.event_type == "dead"
            created = await stored_created(it, event.job_id)
            body = LifecycleEvent.parse(created.data)
            assert body is not None
            # Its first 30 tries raise: the operator's retry gives it as many again, and a payload that no longer does.
            retried = body.model_copy(
                update={
                    "event_type": "retried",
                    "payload": {"number": 1},
                    "timestamp": timestamp(now()),
                }
            )
            await publish_acked(it.connection, WORK, created.data)
            await publish_acked(it.connection, f"{EVENTS}.{event.job_id}.retried", retried.encode())
            await publish_acked(it.connection, WORK, created.data)
        verdict = await it.verdict()
        it.note = "500 dead jobs, two old messages of each"

    ran = [run for run in verdict.runs if run.how == "returned"]
    assert verdict.lost.all == verdict.ended_twice == verdict.left == verdict.overlapping == ()
    assert verdict.ends == {"completed": jobs}
    assert len(ran) == jobs
    assert verdict.duplicates == 0


@pytest.mark.timeout(120)
async def test_deadlines_that_pass_while_jobs_wait_end_them_once(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """A thousand jobs behind ten slots that are taken: those whose time is over expire, once, and never run."""
    async with scenario("deadlines pass", nats_server.url, tmp_path) as it:
        await it.crew.hire(2, concurrency=5)
        await it.submit_many(10, seconds=2, ends=("completed",))
        create = it.mill.jobs.grind.create
        for number in range(1000):
            key = f"late-{number}"
            job = derive_id("mill", "grind", key)
            it.history.write(What.SUBMIT, job, ends=["expired"])
            await create(Grain(number=number), idempotency_key=key, deadline=timedelta(milliseconds=300))
            it.history.write(What.ACCEPTED, job)
        await it.submit_many(1000, ends=("completed",))
        verdict = await it.verdict()

    assert verdict.ended_twice == verdict.lost.all == verdict.left == ()
    assert verdict.ends["completed"] + verdict.ends["expired"] == 2010
    assert verdict.ends["expired"] >= 900, "the slots were taken for longer than their time"
    assert len(verdict.runs) == verdict.ends["completed"]
    assert (verdict.duplicates, verdict.again) == (0, 0)
