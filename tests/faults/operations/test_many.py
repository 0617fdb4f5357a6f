"""Many operations at a time, while instances and the server are killed: each ends once, and nothing is left behind."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats import Options
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.kv import KvBucket
from trellis_nats.operations.lease import LEASES
from trellis_nats.testing import NatsServer

from tests.faults.operations.crew import Instances, Line
from tests.faults.operations.instance import InstanceSettings, result_of
from tests.faults.operations.judge import judge_handlers, judge_records
from tests.faults.operations.record_tap import BUCKET
from tests.faults.operations.scenario import Records, following, until_answered
from tests.support.eventually import eventually
from tests.support.processing import ProcessClient, ProcessInput

OPERATIONS: Final = 2_000
AT_A_TIME: Final = 100
INSTANCES: Final = 3
KILLS: Final = 12
"""Every fourth kills the server."""
MEMORY_MIB: Final = 150
WITHIN: Final = timedelta(minutes=8)


@pytest.mark.timeout(700)
async def test_two_thousand_operations_survive_kills(tmp_path: Path) -> None:
    chance = random.Random(11)  # noqa: S311 - to be repeatable
    settings = InstanceSettings(url="", lines=tmp_path / "lines", resume="run-again", lease_seconds=3)
    patient = Options(request_timeout=timedelta(seconds=5))
    async with (
        NatsServer() as server,
        Instances(server, tmp_path, settings) as instances,
        ProcessClient.connect(server.url, options=patient) as client,
    ):
        await asyncio.gather(*(instances.start() for _ in range(INSTANCES)))
        async with following(client) as records:
            results: dict[str, str] = {}
            turns = asyncio.Semaphore(AT_A_TIME)

            async def run_one(number: int) -> None:
                async with turns:
                    request = ProcessInput(order_id=str(number), mode="short")
                    run = await until_answered(lambda: client.process.start(request))
                    assert await run.result(timeout=WITHIN) == result_of(str(number))
                    results[run.id] = str(number)

            async def kill() -> None:
                for number in range(KILLS):
                    due = (number + 1) * OPERATIONS // (KILLS + 2)
                    await eventually(lambda due=due: len(results) >= due, within=WITHIN)  # type: ignore[misc]
                    if number % 4 == 3:
                        server.kill()
                        server.restart()
                    else:
                        instances.kill(chance.choice(instances.alive))
                        await instances.start()

            async with asyncio.TaskGroup() as work:
                for number in range(OPERATIONS):
                    work.create_task(run_one(number))
                work.create_task(kill())

            # A start that was not answered may have been stored, and runs all the same.
            await eventually(lambda: all(found[-1].has_ended for found in records.of.values()), within=WITHIN)
            memory = instances.memory_mib()
            bucket = KvBucket(client.runtime.connection, BUCKET)

            async def no_lease_of_the_killed() -> bool:
                return len(await until_answered(lambda: bucket.keys(f"{LEASES}*"))) == INSTANCES

            await eventually(no_lease_of_the_killed, within=WITHIN)
            await instances.stop()
            assert await bucket.keys(f"{LEASES}*") == []
            assert not await bucket.keys("*", without_header="trellis-operation-ended")

        async def no_consumer() -> bool:
            return (await call(client.runtime.connection, f"CONSUMER.LIST.KV_{BUCKET}")).get("total") == 0

        await eventually(no_consumer, within=WITHIN)  # the server removes those of killed instances

        lines = instances.lines()
        print(_report(len(results), records, lines, memory))  # noqa: T201 - a report of the run
        assert len(results) == OPERATIONS
        assert max(memory) < MEMORY_MIB
        assert _find_violations(records, lines) == []


def _report(answered: int, records: Records, lines: list[Line], memory: list[float]) -> str:
    attempts = Counter(line.operation for line in lines if line.what == "began")
    return (
        f"\n{answered} operations answered, {len(records.of)} stored, {sum(attempts.values())} attempts, "
        f"{sum(count > 1 for count in attempts.values())} run again; RSS {max(memory):.0f} MiB"
    )


def _find_violations(records: Records, lines: list[Line]) -> list[str]:
    found: list[str] = []
    for operation_id, stored in records.of.items():
        its = [line for line in lines if line.operation in {operation_id, "-"}]
        found += [f"{operation_id}: {text}" for text in (*judge_records(stored), *judge_handlers(its))]
    return found
