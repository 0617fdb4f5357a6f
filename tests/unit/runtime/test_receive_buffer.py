"""Messages that wait for a slow reader."""

import asyncio
import logging

import pytest
from trellis_nats._nats.wire.message import Message
from trellis_nats.events.receive_buffer import ReceiveBuffer


def numbered(number: int, size_bytes: int = 1) -> Message:
    return Message(str(number), b"x" * size_bytes, {})


async def taken(buffer: ReceiveBuffer) -> list[str]:
    buffer.close()
    found: list[str] = []
    while (message := await buffer.take()) is not None:
        found.append(message.subject)
    return found


async def test_messages_come_in_order() -> None:
    buffer = ReceiveBuffer("test", messages_max=3, bytes_max=100)

    for number in range(3):
        buffer.put(numbered(number))

    assert await taken(buffer) == ["0", "1", "2"]
    assert buffer.dropped == 0


async def test_a_full_buffer_drops_the_oldest_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    buffer = ReceiveBuffer('event "X"', messages_max=2, bytes_max=100)

    with caplog.at_level(logging.WARNING):
        for number in range(5):
            buffer.put(numbered(number))

    assert await taken(buffer) == ["3", "4"]
    assert buffer.dropped == 3
    assert [record.message for record in caplog.records] == [
        'event "X": the reader is too slow; 1 message dropped so far'
    ]


async def test_large_messages_are_bounded_by_their_bytes() -> None:
    buffer = ReceiveBuffer("test", messages_max=100, bytes_max=10)

    for number in range(4):
        buffer.put(numbered(number, size_bytes=4))
    buffer.put(numbered(4, size_bytes=11))
    buffer.put(numbered(5, size_bytes=10))

    assert await taken(buffer) == ["5"]
    assert buffer.dropped == 5


async def test_a_waiting_reader_wakes_for_a_message_and_for_the_end() -> None:
    buffer = ReceiveBuffer("test", messages_max=2, bytes_max=100)

    first = asyncio.create_task(buffer.take())
    await asyncio.sleep(0)
    buffer.put(numbered(1))
    assert (await first) == numbered(1)

    second = asyncio.create_task(buffer.take())
    await asyncio.sleep(0)
    buffer.close()
    assert await second is None


async def test_headers_count_against_the_limit_of_bytes() -> None:
    buffer = ReceiveBuffer("test", messages_max=100, bytes_max=1_000)

    for number in range(3):
        buffer.put(Message(str(number), b"", {"a": "x" * 400}))

    assert await taken(buffer) == ["2"]
