"""Permits: how many handlers may run, how many outcomes may be stored at a time, and which jobs wait for a permit."""

import asyncio

import pytest
from trellis_nats._support.capacity import Capacity


class Worker:
    """Records the free capacity after each change."""

    def __init__(self, count: int) -> None:
        self.free_counts: list[int] = []
        self.capacity = Capacity(count, lambda: self.free_counts.append(self.capacity.free))


def test_a_permit_is_free_while_its_outcome_is_stored() -> None:
    worker = Worker(2)
    first, second = worker.capacity.acquire(), worker.capacity.acquire()
    assert worker.capacity.free == 0

    first.end_handler()

    assert worker.free_counts == [1]
    second.release()
    assert worker.free_counts == [1, 2]


def test_no_more_outcomes_wait_than_there_are_permits_and_a_stored_one_frees_capacity() -> None:
    worker = Worker(2)
    waiting = [worker.capacity.acquire() for _ in range(2)]
    for permit in waiting:
        permit.end_handler()
    more = [worker.capacity.acquire() for _ in range(2)]
    for permit in more:
        permit.end_handler()
    assert worker.capacity.free == 0

    waiting[0].release()

    assert worker.free_counts[-1] == 1


def test_a_waiting_handler_gets_a_permit_before_new_work() -> None:
    async def scene() -> None:
        worker = Worker(1)
        waits = worker.capacity.acquire()
        waits.release()
        runs = worker.capacity.acquire()
        turn = asyncio.create_task(waits.reacquire())
        await asyncio.sleep(0)
        assert not turn.done()

        runs.release()
        await turn

        assert waits.is_held
        assert worker.free_counts[-1] == 0

    asyncio.run(scene())


@pytest.mark.parametrize("handed_over", [True, False])
def test_a_job_that_is_cancelled_while_it_waits_leaves_no_permit_behind(*, handed_over: bool) -> None:
    async def scene() -> None:
        worker = Worker(1)
        waits = worker.capacity.acquire()
        waits.release()
        runs = worker.capacity.acquire()
        turn = asyncio.create_task(waits.reacquire())
        await asyncio.sleep(0)
        if handed_over:
            runs.release()
        turn.cancel()
        await asyncio.wait([turn])
        runs.release()

        assert worker.capacity.free == 1

    asyncio.run(scene())


def test_a_stop_wakes_all_waiters() -> None:
    async def scene() -> None:
        worker = Worker(1)
        waits = worker.capacity.acquire()
        waits.release()
        worker.capacity.acquire()
        turn = asyncio.create_task(waits.reacquire())
        await asyncio.sleep(0)

        worker.capacity.close()
        await turn

    asyncio.run(scene())


async def test_a_message_that_arrived_without_a_free_permit_waits_for_it_and_goes_first() -> None:
    worker = Worker(1)
    running, due = worker.capacity.acquire(), worker.capacity.request()
    assert not due.is_held
    waiting = asyncio.ensure_future(due.reacquire())
    await asyncio.sleep(0)
    assert not waiting.done()

    running.release()
    await waiting

    assert due.is_held
    assert worker.capacity.free == 0
    due.release()
    due.release()
    assert worker.capacity.free == 1
