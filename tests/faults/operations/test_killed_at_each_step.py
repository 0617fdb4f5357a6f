"""An operation ends once, and all who look at it see the same, when its process is killed before or after any write."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest
from trellis_nats import ResumePolicy

from tests.faults.operations.record_tap import Passing
from tests.faults.operations.scenario import Case, Mode, play

AT_A_TIME: Final = 5
PASSINGS: Final[tuple[Passing, ...]] = ("sent", "stored")
WRITES: Final[dict[Mode, range]] = {
    "signals": range(1, 10),  # accepted, begun, two reports, three signals, a report, the end
    "attach": range(9, 11),  # the job, the end
    "defer": range(9, 10),
    "cancel": range(5, 6),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("instances", [1, 2])
@pytest.mark.parametrize("resume", ["fail", "run-again"])
async def test_an_operation_survives_a_kill_at_any_write(
    resume: ResumePolicy, instances: int, tmp_path: Path
) -> None:
    cases = [
        Case(mode=mode, resume=resume, instances=instances, point=(number, passing))
        for mode, numbers in WRITES.items()
        for number in numbers
        for passing in PASSINGS
    ]
    folders = [tmp_path / str(number) for number in range(len(cases))]
    for folder in folders:
        folder.mkdir()
    turns = asyncio.Semaphore(AT_A_TIME)

    async def play_in_turn(number: int, case: Case) -> list[str]:
        async with turns:
            try:
                wrong = await play(case, folders[number])
            except Exception as error:  # noqa: BLE001 - the other cases are played all the same
                wrong = [repr(error)]
            return [f"{case}: {text}" for text in wrong]

    found = await asyncio.gather(*(play_in_turn(number, case) for number, case in enumerate(cases)))
    wrong = [text for each in found for text in each]
    assert not wrong, "\n".join(wrong)
