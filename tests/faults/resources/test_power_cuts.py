"""The power goes: what the server had acknowledged and not written is gone. Needs root and loop devices."""

import asyncio
import os
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats.testing import LogEvent

from tests.faults.harness.checker import Verdict
from tests.faults.harness.scenario import scenario
from tests.faults.injection.storage import Disk, is_root, storing_in

SECONDS: Final = 8
"""Of load before the cut."""
SETTLED: Final = timedelta(seconds=180)
"""A work stream that was rolled back less than JOBS has thousands of messages without a job: 30 a second are removed."""

pytestmark = pytest.mark.skipif(not is_root(), reason="needs root, to mount a loop device")


async def cut_under_load(folder: Path, name: str, sync_interval: str) -> tuple[Verdict, set[str]]:
    """Cut the power under load, and let the same workers go on with what the disk has. Return who came after the cut."""
    disk = Disk(folder)
    try:
        mounting = disk.mounted()
        store = mounting.__enter__()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no loop device can be mounted: {error.stderr}")
    server = storing_in(store / "js", limits=f"sync_interval: {sync_interval}")
    server.start()
    try:
        async with scenario(name, server.url, folder, request_timeout=2, rescue_every=1, lost_after=1) as it:
            await it.crew.hire(2)
            await asyncio.to_thread(os.sync)  # the streams were made long before a power cut
            submitting = asyncio.create_task(it.submit_many(1_000_000, at_once=20))
            await asyncio.sleep(SECONDS)
            submitting.cancel()
            # Frozen first: what is acknowledged after the copy was begun would be lost for another reason.
            server.pause()
            it.nemesis("power cut", LogEvent.CONNECTION_LOST, within=30)
            copy = await asyncio.to_thread(disk.cut)
            await asyncio.gather(submitting, return_exceptions=True)
            server.kill()
            mounting.__exit__(None, None, None)
            disk.replace(copy)
            mounting = disk.mounted()
            mounting.__enter__()
            server.start()
            before = len(it.refs)
            await it.submit_many(1000)
            it.note = f"sync_interval {sync_interval}, {before} accepted before the cut"
            assert len(it.refs) == before + 1000, "the service takes jobs again"
            verdict = await it.verdict(SETTLED)
            return verdict, {ref.id for ref in it.refs[before:]}
    finally:
        server.stop()
        mounting.__exit__(None, None, None)


@pytest.mark.timeout(240)
async def test_with_sync_always_a_power_cut_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    verdict, _ = await cut_under_load(tmp_path, "power cut, sync always", "always")

    assert verdict.accepted > 2000
    assert verdict.lost.all == ()
    assert verdict.ended_twice == ()
    assert verdict.left == ()


@pytest.mark.timeout(400)
async def test_with_the_default_a_power_cut_rolls_back_and_the_service_goes_on(tmp_path: Path) -> None:
    """The loss is the server's and is documented. The runtime must work what is left and what comes after."""
    verdict, later = await cut_under_load(tmp_path, "power cut, default", "2m")

    print(f"lost by the server: {len(verdict.lost.all)} of {verdict.accepted}")  # noqa: T201 - the count is the point
    assert later.isdisjoint(verdict.lost.all), "nothing is lost of what came after the cut"
    assert verdict.ended_twice == ()
    # A work stream may bring messages back that its consumer, rolled back less, has counted as done: no worker receives them.
    assert later.isdisjoint(verdict.left)
