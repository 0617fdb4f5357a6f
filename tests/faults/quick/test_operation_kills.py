"""Operations while their process is killed, NATS is killed, or what passes between the two is lost, at one write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats import Options
from trellis_nats.testing import NatsServer

from tests.faults.operations.judge import judge_records, judge_watch
from tests.faults.operations.record_tap import Passing, RecordTap, Writes
from tests.faults.operations.scenario import Case, following, play
from tests.support.eventually import eventually
from tests.support.processing import (
    ProcessClient,
    ProcessInput,
    ProcessOperation,
    ProcessOutput,
    ProcessProgress,
    ProcessService,
)

DONE: Final = ProcessOutput(order_id="o1", status="done")
SOON: Final = timedelta(seconds=60)
HASTY: Final = Options(request_timeout=timedelta(milliseconds=300))
WRITES: Final = range(1, 6)
"""Accepted, begun, two reports, the end."""
POINTS: Final[list[tuple[int, Passing]]] = [
    (number, passing) for number in WRITES for passing in ("sent", "stored")
]


@pytest.mark.parametrize("point", [(2, "stored"), (3, "sent")])
async def test_an_operation_survives_the_kill_of_its_process(
    point: tuple[int, Passing], tmp_path: Path
) -> None:
    case = Case(mode="signals", resume="run-again", instances=1, point=point)
    assert await play(case, tmp_path) == []


async def run_through(server: NatsServer, point: tuple[int, Passing], act: Callable[[], object]) -> None:
    """Run an operation to its end; act at a point, where the frame that passes is lost."""
    writes = Writes(point)
    async with (
        RecordTap(server.port, writes) as tap,
        ProcessService.connect(tap.url, options=HASTY) as service,
        ProcessClient.connect(server.url) as client,
    ):
        tap.act = act

        @service.process.handle
        async def process(operation: ProcessOperation) -> ProcessOutput:
            await operation.progress(ProcessProgress(step=1))
            await operation.progress(ProcessProgress(step=2))
            return DONE

        await service.start()
        async with following(client) as records:
            run = await client.process.start(ProcessInput(order_id="o1"), timeout=SOON)
            updates = [update async for update in run.watch()]
            await eventually(lambda: records.has_ended(run.id), within=SOON)
            assert await run.result(timeout=SOON) == DONE

        assert writes.acted
        found = records.of[run.id]
        assert judge_records(found) == []
        assert judge_watch("a watch", updates, found) == []
        assert len(found) == len(WRITES)  # nothing was stored twice


@pytest.mark.parametrize("point", POINTS)
async def test_a_write_or_its_answer_that_is_lost_changes_nothing(
    point: tuple[int, Passing], nats_server: NatsServer
) -> None:
    async with asyncio.timeout(SOON.total_seconds()):
        await run_through(nats_server, point, lambda: None)


# A start is sent once, and its answer passes with the second write: with the server, it may be lost.
@pytest.mark.parametrize("point", POINTS[3:])
async def test_a_server_that_is_killed_at_a_write_changes_nothing(point: tuple[int, Passing]) -> None:
    async with NatsServer() as server:

        def restart() -> None:
            server.kill()
            server.restart()

        async with asyncio.timeout(SOON.total_seconds()):
            await run_through(server, point, restart)
