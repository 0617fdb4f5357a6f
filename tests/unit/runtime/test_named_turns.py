"""Callers of one name go one after another, in the order of their arrival."""

import asyncio

from trellis_nats._support.named_turns import NamedTurns


async def take(turns: NamedTurns, name: str, log: list[str], who: str) -> None:
    await turns.take(name)
    log.append(who)


async def test_callers_of_one_name_take_turns_in_order() -> None:
    turns, log = NamedTurns(), list[str]()
    assert turns.try_take("a")
    waiting = [asyncio.create_task(take(turns, "a", log, who)) for who in "123"]
    await asyncio.sleep(0)

    assert not turns.try_take("a")
    assert turns.try_take("b")
    for expected in ("1", "12", "123"):
        turns.end("a")
        await asyncio.sleep(0)
        assert "".join(log) == expected
    turns.end("a")
    assert turns.try_take("a")
    await asyncio.gather(*waiting)


async def test_a_cancelled_caller_does_not_keep_the_turn() -> None:
    turns, log = NamedTurns(), list[str]()
    assert turns.try_take("a")
    early, late, last = (asyncio.create_task(take(turns, "a", log, who)) for who in "123")
    await asyncio.sleep(0)

    early.cancel()  # it waits
    await asyncio.sleep(0)
    turns.end("a")
    late.cancel()  # its turn has just come
    await asyncio.gather(early, late, return_exceptions=True)
    await last

    assert log == ["3"]
    turns.end("a")
    assert turns.try_take("a")
