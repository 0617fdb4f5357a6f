"""Time limits of tasks that share one timer."""

import asyncio
from contextlib import suppress

import pytest
from trellis_nats._support.deadlines import Deadlines


async def wait_under(deadlines: Deadlines, seconds: float | None) -> None:
    """Wait without an end, under a limit."""
    with deadlines.limit(None if seconds is None else deadlines.loop.time() + seconds):
        await asyncio.Event().wait()


async def test_a_block_ends_at_its_time() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())
    began = deadlines.loop.time()

    with pytest.raises(TimeoutError):
        await wait_under(deadlines, 0.02)

    assert deadlines.loop.time() - began >= 0.019


async def test_a_limit_that_has_passed_ends_the_block_at_once() -> None:
    with pytest.raises(TimeoutError):
        await wait_under(Deadlines(asyncio.get_running_loop()), -1)


async def test_each_block_ends_at_its_own_time_in_any_order() -> None:
    deadlines, ended = Deadlines(asyncio.get_running_loop()), list[float]()

    async def wait(seconds: float) -> None:
        with suppress(TimeoutError):
            await wait_under(deadlines, seconds)
        ended.append(seconds)

    await asyncio.gather(*(wait(seconds) for seconds in (0.45, 0.15, 0.6, 0.3)))

    assert ended == [0.15, 0.3, 0.45, 0.6]


async def test_a_block_that_ended_in_time_does_not_keep_others_from_ending() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())
    with deadlines.limit(deadlines.loop.time() + 0.01):
        pass

    with pytest.raises(TimeoutError):
        await wait_under(deadlines, 0.03)


async def test_a_block_that_ended_in_time_does_not_cancel_its_task() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())
    with deadlines.limit(deadlines.loop.time() + 0.01):
        pass

    await asyncio.sleep(0.05)


async def test_without_a_limit_a_block_waits() -> None:
    waiting = asyncio.create_task(wait_under(Deadlines(asyncio.get_running_loop()), None))

    done, _ = await asyncio.wait((waiting,), timeout=0.02)
    waiting.cancel()

    assert not done


async def test_a_cancellation_of_the_task_is_not_a_timeout() -> None:
    waiting = asyncio.create_task(wait_under(Deadlines(asyncio.get_running_loop()), 30))
    await asyncio.sleep(0)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_cancellation_at_the_same_moment_counts_more_than_the_limit() -> None:
    async def wait_on() -> None:
        with deadlines.limit(deadlines.loop.time()):
            try:
                await asyncio.Event().wait()
            finally:
                waiting.cancel()

    deadlines = Deadlines(asyncio.get_running_loop())
    waiting = asyncio.create_task(wait_on())

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_after_a_timeout_the_task_is_not_cancelled_any_more() -> None:
    with pytest.raises(TimeoutError):
        await wait_under(Deadlines(asyncio.get_running_loop()), 0)

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_an_error_of_the_block_is_raised_though_its_time_is_over() -> None:
    async def fail_late() -> None:
        with deadlines.limit(deadlines.loop.time()):
            try:
                await asyncio.Event().wait()
            finally:
                raise LookupError

    deadlines = Deadlines(asyncio.get_running_loop())

    with pytest.raises(LookupError):
        await fail_late()
