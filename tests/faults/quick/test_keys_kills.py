"""Keyed jobs while workers are killed and one stands still: limits are kept, and no key is stuck."""

import asyncio
from datetime import timedelta
from pathlib import Path

from trellis_nats.testing import NatsServer

from tests.faults.keys.scenario import keyed_scenario

JOBS = 100
FROZEN = 3.0
"""Seconds: a lease and a half."""


async def test_limits_hold_while_workers_are_killed_and_one_stands_still(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with keyed_scenario("keys, quick", nats_server, tmp_path) as it:
        frozen, first = await asyncio.gather(it.hire(), it.hire())
        submitter = await it.submitter(jobs=JOBS, keys=20, hot=4, at_once=10, long=0)
        await it.entered(20)
        first.kill()
        frozen.freeze()
        await it.hire()
        await asyncio.sleep(FROZEN)
        frozen.thaw()
        assert await submitter.ended() == 0
        audit = await it.audit(timedelta(seconds=15))

    assert not audit.violations(), str(audit)
    assert audit.verdict.accepted >= JOBS
