"""A bounded number of tasks works at a time."""

import asyncio

from trellis_nats._support.turns import Turns


def test_only_so_many_turns_are_free() -> None:
    turns = Turns(2)

    assert [turns.take() for _ in range(3)] == [True, True, False]
    turns.end()
    assert turns.take()


async def test_turns_are_given_in_the_order_of_asking() -> None:
    turns, served = Turns(1), list[int]()
    assert turns.take()

    async def wait(number: int) -> None:
        await turns.wait()
        served.append(number)
        turns.end()

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(wait(number))
        await asyncio.sleep(0)
        assert served == []
        turns.end()

    assert served == [0, 1, 2]
    assert turns.take()


async def test_a_task_that_is_cancelled_while_it_waits_takes_no_turn() -> None:
    turns = Turns(1)
    assert turns.take()
    cancelled, waiting = asyncio.create_task(turns.wait()), asyncio.create_task(turns.wait())
    await asyncio.sleep(0)

    cancelled.cancel()
    await asyncio.wait((cancelled,))
    turns.end()

    await waiting
    assert not turns.take()


async def test_a_turn_that_comes_at_the_moment_of_a_cancellation_is_passed_on() -> None:
    turns = Turns(1)
    assert turns.take()
    cancelled, waiting = asyncio.create_task(turns.wait()), asyncio.create_task(turns.wait())
    await asyncio.sleep(0)

    turns.end()
    cancelled.cancel()

    await waiting
    assert cancelled.cancelled()
    assert not turns.take()
