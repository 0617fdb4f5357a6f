"""The same faults for us and for others, so that a reader can see the difference: `make faults PEERS=1`.

What others do is recorded, never judged: benchmarks/faults_peers.json, from which docs/comparison.md is written. What we
promise is asserted in the same run. All systems run at the same time, each on a server of its own.
"""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

import pytest

from benchmarks.peers.versions import setting
from tests.faults.peers.systems import ACK_WAIT, OURS, STARTED_WITHIN, SYSTEMS, Stage, System, on_stage

pytestmark = pytest.mark.skipif(
    not os.environ.get("PEERS"), reason="opt-in, it needs other packages: make faults PEERS=1"
)

FIGURES: Final = Path(__file__).parents[3] / "benchmarks/faults_peers.json"
LONG: Final = 2.7 * ACK_WAIT
WATCHED: Final = 30.0
"""Seconds after the first run in which others are counted: more than three times the job's."""
PATIENCE: Final = timedelta(seconds=120)
AGAIN_WITHIN: Final = 5.0
T = TypeVar("T")
WARM_UP, LONG_JOB, BY_A_NEW_PRODUCER, BY_THE_OLD_PRODUCER = range(4)


@pytest.mark.timeout(240)
async def test_a_job_of_2_7_ack_waits(tmp_path: Path) -> None:
    runs = await of_all(SYSTEMS, runs_of_a_long_job, tmp_path)
    record("double_run", {name: {"runs": count} for name, count in runs.items()})

    assert runs[OURS.name] == 1


async def runs_of_a_long_job(system: System, folder: Path) -> int:
    """Two workers stand by; how often does a handler begin?"""
    async with on_stage(system, folder) as stage:
        await stage.worker()
        producer = await stage.producer()
        await warmed_up(stage, producer)
        await stage.worker()
        await stage.create(producer, LONG_JOB, seconds=LONG)
        assert await stage.first("ended", LONG_JOB, within=STARTED_WITHIN) is not None
        began = stage.told("began", LONG_JOB)[0]["at"]
        await asyncio.sleep(began + WATCHED - time.monotonic())  # that nothing more happens is the point
        return len(stage.told("began", LONG_JOB))


@pytest.mark.timeout(500)
@pytest.mark.parametrize("seconds", [4, 150])
async def test_a_server_that_was_away(tmp_path: Path, seconds: int) -> None:
    async def outage(system: System, folder: Path) -> dict[str, float | int | None]:
        return await after_an_outage(system, folder, seconds=seconds)

    after = await of_all(SYSTEMS, outage, tmp_path)
    record(f"outage_{seconds}", after)

    worked = after[OURS.name]["worked"]
    assert worked is not None
    assert worked < AGAIN_WITHIN


async def after_an_outage(system: System, folder: Path, *, seconds: float) -> dict[str, float | int | None]:
    """Return the seconds from the server's return to the next job's handler, and to the old producer's next job."""
    async with on_stage(system, folder) as stage:
        worker = await stage.worker()
        old, new = await stage.producer(), await stage.producer()
        await warmed_up(stage, old)
        stage.server.kill()
        await asyncio.sleep(seconds)  # its length is the point
        await asyncio.to_thread(stage.server.start)
        back = time.monotonic()
        await stage.create(new, BY_A_NEW_PRODUCER, seconds=0)
        await stage.create(old, BY_THE_OLD_PRODUCER, seconds=0)
        worked, accepted = await asyncio.gather(
            stage.first("began", BY_A_NEW_PRODUCER, within=PATIENCE),
            stage.first("accepted", BY_THE_OLD_PRODUCER, within=PATIENCE),
        )
        return {
            "worked": None if worked is None else worked - back,
            "accepted": None if accepted is None else accepted - back,
            "exit_code": worker.returncode,
            "new_process": stage.in_new_process(WARM_UP, BY_A_NEW_PRODUCER),
        }


async def of_all(
    systems: Iterable[System], measure: Callable[[System, Path], Awaitable[T]], folder: Path
) -> dict[str, T]:
    named = {system.name: measure(system, folder) for system in systems}
    return dict(zip(named, await asyncio.gather(*named.values()), strict=True))


async def warmed_up(stage: Stage, producer: asyncio.subprocess.Process) -> None:
    await stage.create(producer, WARM_UP, seconds=0)
    assert await stage.first("ended", WARM_UP, within=STARTED_WITHIN) is not None, stage.output


def record(what: str, figures: object) -> None:
    print(what, json.dumps(figures, indent=2))  # noqa: T201 - the figures are the point
    known: dict[str, object] = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    FIGURES.write_text(json.dumps({**known, "setting": setting(), what: figures}, indent=2) + "\n")
