"""Hostile messages among honest jobs: none of them becomes a job, none circulates, and every honest job is done."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Final

from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.ids import new_id
from trellis_nats.testing import LogEvent, NatsServer

from tests.faults.harness.history import What
from tests.faults.harness.scenario import Scenario, scenario
from tests.faults.injection.forging import WORK, no_jobs, publish_created, unreadable_payloads
from tests.support.sourcing import until_sourced

JOBS: Final = 300
EACH: Final = 10


async def poisoned(it: Scenario, payload: str) -> str:
    """Store a job whose payload was not validated, and which must fail."""
    job = new_id()
    it.history.write(What.SUBMIT, job, ends=["failed"])
    await publish_created(it.connection, job, payload)
    it.history.write(What.ACCEPTED, job)
    return job


async def test_no_hostile_message_becomes_a_job_and_none_circulates(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with scenario("poison among jobs", nats_server.url, tmp_path) as it:
        await it.crew.hire()
        # Sourcing starts 0.1 s after the work stream; what is published there before makes it skip events (decision 9).
        await until_sourced(it.connection)

        async def forge() -> None:
            for body in list(no_jobs().values()) * EACH:
                await publish_acked(it.connection, WORK, body)
            for payload in list(unreadable_payloads().values()) * EACH:
                await poisoned(it, payload)

        async with asyncio.TaskGroup() as group:
            group.create_task(forge())
            group.create_task(it.submit_many(JOBS, ends=("completed",)))
        it.note = f"{EACH} each of {len(no_jobs())} no jobs and {len(unreadable_payloads())} payloads"
        verdict = await it.verdict()

    failed = EACH * len(unreadable_payloads())
    assert verdict.is_clean, str(verdict)
    assert verdict.ends == {"completed": JOBS, "failed": failed}
    assert verdict.end_tries == {1: JOBS + failed}
    assert not verdict.duplicates
    assert len(verdict.runs) == JOBS, "no handler saw a payload that does not match its schema"
    assert LogEvent.INTERNAL_ERROR not in it.logged_events()


async def test_numbers_that_json_does_not_have_fail_their_jobs_at_once(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with scenario("payloads with NaN", nats_server.url, tmp_path) as it:
        await it.crew.hire()
        for number in ("NaN", "Infinity", "1e999"):
            await poisoned(it, f'{{"number":1,"seconds":{number}}}')
        await it.submit_many(10, ends=("completed",))
        verdict = await it.verdict(timedelta(seconds=1))

    assert verdict.is_clean, str(verdict)
    assert verdict.ends == {"completed": 10, "failed": 3}
