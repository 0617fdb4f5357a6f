"""A process that stood still for longer than its lease stores nothing in an operation that another took over."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from trellis_nats import OperationInterrupted, OperationState
from trellis_nats.testing import NatsServer

from tests.faults.operations.crew import Instances
from tests.faults.operations.instance import InstanceSettings
from tests.faults.operations.judge import judge_handlers, judge_records, judge_watch
from tests.faults.operations.scenario import LONG, following
from tests.support.eventually import eventually
from tests.support.processing import ProcessClient, ProcessInput

HOLD = ProcessInput(order_id="o1", mode="hold")


def has_ended(instances: Instances, pid: int) -> bool:
    """Return whether no handler runs in a process."""
    its = [line.what for line in instances.lines() if line.pid == pid and line.what in {"began", "ended"}]
    return its[-1:] == ["ended"]


@pytest.mark.timeout(300)
async def test_a_frozen_process_does_not_write_after_another_runs_the_operation(tmp_path: Path) -> None:
    settings = InstanceSettings(url="", lines=tmp_path / "lines", resume="run-again", lease_seconds=4.5)
    async with (
        NatsServer() as server,
        Instances(server, tmp_path, settings) as instances,
        ProcessClient.connect(server.url) as client,
    ):
        await instances.start()
        await instances.start()
        async with following(client) as records:
            run = await client.process.start(HOLD)

            async def newest_began(*, but: int = 0) -> int:
                """Return the process that began last, when it is another one and has stored something since."""

                def find() -> int | None:
                    its = [line for line in instances.lines() if line.what in {"began", "stored"}]
                    is_other = bool(its) and its[-1].pid != but and its[-1].what == "stored"
                    return its[-1].pid if is_other else None

                pid = await eventually(find, within=LONG)
                assert pid is not None
                return pid

            pid = await newest_began()
            for _ in range(3):
                instances.find(pid).freeze()
                successor = await newest_began(but=pid)
                instances.find(pid).thaw()
                await eventually(partial(has_ended, instances, pid), within=LONG)
                pid = successor
            await run.cancel()
            updates = [update async for update in run.watch()]
            await eventually(lambda: records.has_ended(run.id))

            found = records.of[run.id]
            assert judge_records(found) == []
            assert judge_handlers(instances.lines()) == []
            assert judge_watch("a late watch", updates, found) == []


@pytest.mark.timeout(300)
async def test_a_frozen_process_does_not_write_after_another_failed_the_operation(tmp_path: Path) -> None:
    settings = InstanceSettings(url="", lines=tmp_path / "lines", resume="fail", lease_seconds=4.5)
    async with (
        NatsServer() as server,
        Instances(server, tmp_path, settings) as instances,
        ProcessClient.connect(server.url) as client,
    ):
        await instances.start()
        await instances.start()
        async with following(client) as records:
            run = await client.process.start(HOLD)
            await eventually(lambda: any(line.what == "stored" for line in instances.lines()), within=LONG)
            frozen = instances.find(instances.lines()[0].pid)
            frozen.freeze()
            with pytest.raises(OperationInterrupted):
                await run.result(timeout=LONG)
            frozen.thaw()
            await eventually(lambda: any(line.what == "ended" for line in instances.lines()), within=LONG)

            lines = instances.lines()
            thawed = next(number for number, line in enumerate(lines) if line.what == "thawed")
            # One report may have been stored before it stood still.
            assert sum(line.what == "stored" for line in lines[thawed:]) <= 1
            assert (await run.get()).state is OperationState.FAILED
            assert judge_records(records.of[run.id]) == []
