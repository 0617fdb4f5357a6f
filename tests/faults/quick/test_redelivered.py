"""A job is redelivered while its worker lives: it is left to that worker, in every state."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.clock import now
from trellis_nats.testing import NatsServer

from tests.faults.harness.dump import created_event
from tests.faults.harness.scenario import Scenario, scenario
from tests.faults.harness.wiretap import Step, Wiretap
from tests.support.eventually import eventually


async def redeliver(it: Scenario, job: str) -> None:
    """Deliver a job's work message once more, as a server does that was killed and forgot the delivery."""
    created = await created_event(it.connection, it.queue, job)
    await publish_acked(it.connection, f"trellis.work.mill.{it.queue}", created)


async def test_a_redelivered_job_in_its_last_attempt_is_left_to_its_worker(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with scenario("redelivered in its last attempt", nats_server.url, tmp_path, queue="single") as it:
        await it.crew.hire()
        ref = await it.submit(seconds=1.5, ends=("completed",))
        await it.entered(ref)
        assert ref is not None
        await it.crew.hire()
        await redeliver(it, ref.id)
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert len(verdict.runs) == 1


async def test_a_redelivered_job_past_its_deadline_is_left_to_its_worker(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with scenario("redelivered past its deadline", nats_server.url, tmp_path, queue="brief") as it:
        await it.crew.hire()
        deadline = now() + timedelta(seconds=1)
        ref = await it.submit(seconds=2.5, deadline=deadline, ends=("completed",))
        await it.entered(ref)
        assert ref is not None
        await it.crew.hire()
        await eventually(lambda: now() > deadline)
        await redeliver(it, ref.id)
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert len(verdict.runs) == 1


async def test_a_job_redelivered_before_its_worker_knows_that_it_began_is_left_to_it(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """The event `started` is stored, and the answer is still on its way: the worker says already that the job is its."""
    async with (
        Wiretap(nats_server.port) as tap,
        scenario("redelivered as it begins", nats_server.url, tmp_path, queue="brief") as it,
    ):
        await it.crew.hire(url=tap.url)
        tap.drop(Step.STARTED_STORED)
        ref = await it.submit(seconds=1.5, ends=("completed",))
        assert ref is not None
        await eventually(lambda: not tap.waits)
        await it.crew.hire()
        await redeliver(it, ref.id)
        verdict = await it.verdict()

    assert verdict.is_clean, str(verdict)
    assert (len(verdict.runs), verdict.end_tries) == (1, {1: 1})
