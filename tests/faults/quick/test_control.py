"""Nothing fails: then nothing is delivered, handled or ended twice."""

from pathlib import Path

from trellis_nats.testing import NatsServer

from tests.faults.harness.scenario import scenario

JOBS = 500


async def test_without_a_fault_every_job_is_delivered_and_handled_once(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with scenario("no fault, two workers", nats_server.url, tmp_path) as it:
        await it.crew.hire(2)
        await it.submit_many(JOBS, ends=("completed",))
        verdict = await it.verdict()

    assert verdict.is_quiet, str(verdict)
    assert verdict.accepted == verdict.terminal == JOBS
    assert len(verdict.runs) == JOBS
