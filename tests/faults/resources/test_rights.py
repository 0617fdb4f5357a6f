"""Rights that are taken away under the workers, and given back: nothing is lost, nothing runs hot, nothing runs twice."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats.testing import LogEvent

from tests.faults.harness.mill import Flour, Grain, GrainJob, Mill
from tests.faults.harness.scenario import scenario
from tests.faults.injection.rights import GuardedServer
from tests.support.eventually import eventually

JOBS: Final = 2_000
AWAY: Final = 4.0
"""Seconds without the permission."""
LINES_PER_SECOND: Final = 60
"""Of a worker's log, with twenty jobs in hand that each tell once a second; a hot loop writes thousands."""
EXPIRY: Final = 36
"""Seconds until a pull request that the server took before is over, and the next one is missed."""
LOOKS: Final = 8


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("what", "denied", "seen"),
    [
        ("outcomes", "trellis.jobs.mill.grind.*.completed", (LogEvent.OUTCOME_NOT_STORED,)),
        ("every event", "trellis.jobs.mill.grind.>", (LogEvent.OUTCOME_NOT_STORED, LogEvent.JOB_RETURNED)),
        ("acknowledgements", "$JS.ACK.>", (LogEvent.ACK_DENIED,)),
        ("pulls", "$JS.API.CONSUMER.MSG.NEXT.>", (LogEvent.PERMISSION_DENIED,)),
        ("reads", "$JS.API.DIRECT.GET.JOBS.>", ()),  # a job that goes well reads nothing
    ],
)
async def test_a_right_that_is_away_for_a_while_loses_nothing(
    what: str, denied: str, seen: tuple[LogEvent, ...], tmp_path: Path
) -> None:
    with GuardedServer() as server:
        async with scenario(
            f"no right: {what}", server.admin_url, tmp_path, work_url=server.worker_url, request_timeout=1
        ) as it:
            (worker,) = await it.crew.hire()
            submitting = asyncio.create_task(
                it.submit_many(JOBS, at_once=5, seconds=0.05, ends=("completed",))
            )
            await eventually(lambda: len(it.refs) > JOBS // 10)
            it.nemesis(f"{denied} denied", *seen)
            server.deny(denied)
            lines = worker.log.read_text().count("\n")
            await asyncio.sleep(AWAY)
            lines = worker.log.read_text().count("\n") - lines
            server.deny()
            await submitting
            it.note = f"{lines} log lines in {AWAY:g} s"
            verdict = await it.verdict(timedelta(seconds=90))

    assert lines < LINES_PER_SECOND * AWAY, f"{lines} lines"
    assert verdict.is_clean, str(verdict)
    assert verdict.ends == {"completed": JOBS}
    assert (verdict.duplicates, verdict.again) == (0, 0), str(verdict)


@pytest.mark.timeout(120)
async def test_a_right_to_pull_that_is_taken_away_shows_in_readiness(tmp_path: Path) -> None:
    with GuardedServer() as server:
        async with Mill.connect(server.admin_url), Mill.connect(server.worker_url) as mill:

            @mill.jobs.grind.handle
            async def grind(job: GrainJob) -> Flour:
                return Flour(tries=job.tries)

            await mill.start()
            server.deny("$JS.API.CONSUMER.MSG.NEXT.>")
            await asyncio.sleep(EXPIRY)
            for _ in range(LOOKS):
                assert not (await mill.health.report()).ready
                await asyncio.sleep(1)
            server.deny()

            async def is_ready() -> bool:
                return (await mill.health.report()).ready

            await eventually(is_ready, within=timedelta(seconds=40))


async def test_no_more_outcomes_wait_to_be_stored_than_handlers_may_run(tmp_path: Path) -> None:
    """A permit is free when its handler has ended; while outcomes cannot be stored, new handlers must not go on and on."""
    with GuardedServer() as server:
        async with Mill.connect(server.admin_url), Mill.connect(server.worker_url) as mill:
            began = 0

            @mill.jobs.grind.handle(concurrency=2)
            async def grind(job: GrainJob) -> Flour:
                nonlocal began
                began += 1
                return Flour(tries=job.tries)

            server.deny("trellis.jobs.mill.grind.*.completed")
            await mill.start()
            refs = [await mill.jobs.grind.create(Grain(number=n)) for n in range(20)]
            await eventually(lambda: began >= 4)
            await mill.jobs.grind.create(Grain(number=20))
            await asyncio.sleep(1)
            assert began == 4
            server.deny()

            for ref in refs:
                assert (await ref.wait(timeout=timedelta(seconds=20))).tries == 1
