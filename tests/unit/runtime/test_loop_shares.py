"""Tasks that always have something to do share the event loop."""

import asyncio

import pytest
from trellis_nats._support import loop_shares
from trellis_nats._support.loop_shares import LoopShares


@pytest.fixture(autouse=True)
def _clock_that_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_shares, "monotonic", lambda: 5.0)


async def test_a_task_alone_works_for_a_millisecond() -> None:
    assert await LoopShares().pause() == pytest.approx(5.001)


async def test_others_have_a_turn_in_a_pause() -> None:
    turns = list[str]()
    asyncio.get_running_loop().call_soon(turns.append, "other")

    await LoopShares().pause()

    assert turns == ["other"]


async def test_tasks_that_always_work_divide_the_millisecond() -> None:
    shares, until = LoopShares(), list[float]()

    async def work() -> None:
        for _ in range(10):
            until.append(await shares.pause())

    await asyncio.gather(*(work() for _ in range(4)))

    assert until[:-4] == pytest.approx([5.00025] * 36)


async def test_a_task_that_is_cancelled_in_its_pause_takes_no_share() -> None:
    shares = LoopShares()
    cancelled = asyncio.create_task(shares.pause())
    await asyncio.sleep(0)

    cancelled.cancel()
    await asyncio.wait((cancelled,))

    assert await shares.pause() == pytest.approx(5.001)
