"""Messages that wait for a slow listener."""

import asyncio
import logging

import pytest
from trellis_nats._nats.wire.message import Message
from trellis_nats.events.publish_buffer import Backlog


def message(number: int, size_bytes: int = 1) -> Message:
    return Message(str(number), b"x" * size_bytes, {})


async def taken(backlog: Backlog) -> list[str]:
    backlog.close()
    found: list[str] = []
    while (each := await backlog.take()) is not None:
        found.append(each.subject)
    return found


async def test_messages_come_in_order() -> None:
    backlog = Backlog("test", messages_max=3, bytes_max=100)

    for number in range(3):
        backlog.put(message(number))

    assert await taken(backlog) == ["0", "1", "2"]
    assert backlog.dropped == 0


async def test_a_full_backlog_drops_the_oldest_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    backlog = Backlog('event "X"', messages_max=2, bytes_max=100)

    with caplog.at_level(logging.WARNING):
        for number in range(5):
            backlog.put(message(number))

    assert await taken(backlog) == ["3", "4"]
    assert backlog.dropped == 3
    assert [record.message for record in caplog.records] == [
        'event "X": the listener is too slow; so far 1 were dropped'
    ]


async def test_large_messages_are_bounded_by_their_bytes() -> None:
    backlog = Backlog("test", messages_max=100, bytes_max=10)

    for number in range(4):
        backlog.put(message(number, size_bytes=4))
    backlog.put(message(4, size_bytes=11))
    backlog.put(message(5, size_bytes=10))

    assert await taken(backlog) == ["5"]
    assert backlog.dropped == 5


async def test_a_waiting_reader_wakes_for_a_message_and_for_the_end() -> None:
    backlog = Backlog("test", messages_max=2, bytes_max=100)

    first = asyncio.create_task(backlog.take())
    await asyncio.sleep(0)
    backlog.put(message(1))
    assert (await first) == message(1)

    second = asyncio.create_task(backlog.take())
    await asyncio.sleep(0)
    backlog.close()
    assert await second is None
