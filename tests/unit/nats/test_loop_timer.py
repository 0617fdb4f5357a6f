"""A timer of the event loop that does not mistake a blocked loop for silence."""

import asyncio
import math
import socket
import time
from collections.abc import Callable
from typing import cast

import pytest
from trellis_nats._support.loop_timer import LoopTimer


async def fire_times(*starts: float, late: float = 0.05, blocked: float = 0.0) -> list[float]:
    """Start a timer, block the loop, and return when it fired, in seconds after now."""
    loop = asyncio.get_running_loop()
    began, fired = loop.time(), list[float]()
    timer = LoopTimer(lambda: fired.append(loop.time() - began), late=late)
    for start in starts:
        timer.start(began + start)
    time.sleep(blocked)  # noqa: ASYNC251 - the fault itself
    while not fired:  # noqa: ASYNC110 - the timer is what is tested
        await asyncio.sleep(0.001)
    await asyncio.sleep(2 * late)
    assert math.isinf(timer.when)
    return fired


async def test_it_fires_once_at_its_time() -> None:
    (fired,) = await fire_times(0.02)

    assert fired >= 0.019


async def test_a_later_start_replaces_the_earlier_one() -> None:
    (fired,) = await fire_times(0.01, 0.04)

    assert fired >= 0.039


async def test_a_blocked_loop_is_given_time_to_read_before_it_fires() -> None:
    (fired,) = await fire_times(0.01, blocked=0.2)

    assert fired >= 0.2 + 0.05 - 0.001


async def test_what_the_loop_reads_in_that_time_can_cancel_it() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    fired: list[float] = []
    timer = LoopTimer(lambda: fired.append(loop.time()), late=0.05)
    with ours, theirs:
        loop.add_reader(ours, timer.cancel)
        timer.start(loop.time() + 0.01)
        theirs.send(b"an answer that waits unread")
        time.sleep(0.2)  # noqa: ASYNC251 - the fault itself
        await asyncio.sleep(0.2)
        loop.remove_reader(ours)

    assert fired == []


async def test_a_cancelled_timer_does_not_fire() -> None:
    fired: list[int] = []
    timer = LoopTimer(lambda: fired.append(1), late=0.05)
    timer.start(asyncio.get_running_loop().time() + 0.01)
    timer.cancel()
    timer.cancel()
    await asyncio.sleep(0.05)

    assert fired == []
    assert math.isinf(timer.when)


class SlowLoop:
    """A loop whose every turn takes as long: the machine is starved, or every handler computes for a while."""

    def __init__(self, turn: float) -> None:
        self.now = 0.0
        self._turn = turn
        self._due: tuple[float, Callable[[], None]] | None = None

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        self._due = (when, callback)
        return asyncio.TimerHandle(when, callback, (), asyncio.get_running_loop())

    def run(self, turns: int) -> None:
        for _ in range(turns):
            self.now += self._turn
            if self._due is not None and self._due[0] <= self.now:
                (_, callback), self._due = self._due, None
                callback()


@pytest.mark.parametrize("turn", [0.11, 0.5, 3.0])
async def test_a_loop_that_stays_slow_does_not_keep_it_from_firing(turn: float) -> None:
    """A request to a process that stands still would otherwise wait for as long as the machine is busy."""
    slow, fired = SlowLoop(turn), list[float]()
    loop = cast("asyncio.AbstractEventLoop", slow)
    timer = LoopTimer(lambda: fired.append(slow.now), late=0.1, loop=loop)
    timer.start(0.9)
    slow.run(100)

    assert len(fired) == 1
    assert fired[0] <= 1.0 + 4 * (turn + 0.1)  # three waits, each at least as long as a turn
    assert math.isinf(timer.when)
