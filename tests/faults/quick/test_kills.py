"""A worker is killed at every step of its work; another one takes over. Nothing is lost, and nothing ends twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from trellis_nats.testing import NatsServer

from tests.faults.harness.checker import Verdict
from tests.faults.harness.scenario import scenario
from tests.faults.harness.wiretap import Step, Wiretap, acked_too_early

INSIDE: Final = "handler inside"

# How often the handler runs in the two processes, and in which try the job ends.
EXPECTED: Final = {
    Step.DELIVERED: (1, 1),
    Step.STARTED_SENT: (1, 1),
    Step.STARTED_STORED: (1, 2),
    INSIDE: (2, 2),
    Step.OUTCOME_SENT: (2, 2),
    Step.OUTCOME_STORED: (1, 1),
    Step.ACK_SENT: (1, 1),
    Step.ACK_CONFIRMED: (1, 1),
}


async def test_a_worker_that_is_killed_at_any_step_leaves_its_job_to_another(tmp_path: Path) -> None:
    """The kill comes from the wire: the frame of the step is kept back, and the process gets SIGKILL."""
    verdicts = await asyncio.gather(*(killed_at(step, tmp_path / step) for step in EXPECTED))

    for step, verdict in zip(EXPECTED, verdicts, strict=True):
        assert verdict.is_clean, f"{step}: {verdict}"
    assert {
        step: (len(verdict.runs), *verdict.end_tries)
        for step, verdict in zip(EXPECTED, verdicts, strict=True)
    } == EXPECTED


async def killed_at(step: str, folder: Path) -> Verdict:
    async with (
        NatsServer() as server,
        Wiretap(server.port) as tap,
        scenario(f"worker killed: {step}", server.url, folder, queue="brief") as it,
    ):
        (doomed,) = await it.crew.hire(url=tap.url)

        def kill() -> bool:
            doomed.kill()
            return False

        if step != INSIDE:
            tap.at(Step(step), kill)
        ref = await it.submit(seconds=0.2, ends=("completed",))
        if step == INSIDE:
            await it.entered(ref)
            doomed.kill()
        await doomed.ended()
        await it.crew.hire()
        assert not acked_too_early(tap.seen)
        return await it.verdict()
