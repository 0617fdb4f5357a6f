"""Deliveries are read from their ack subject, with and without a domain."""

from __future__ import annotations

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.delivery import Delivery, is_delivery, parse_delivery
from trellis_nats._nats.link.servers import parse_servers
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message


@pytest.fixture
async def unopened() -> Connection:
    return Connection(*parse_servers("nats://nowhere", ConnectionSettings()))


def delivery(reply: str, **headers: str) -> Message:
    return Message("work.a", b"data", headers, reply)


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.WORK.workers.3.11.12.1795450165816904257.5",
        "$JS.ACK.hub.AHASH.WORK.workers.3.11.12.1795450165816904257.5.random",
        "$JS.ACK._.AHASH.WORK.workers.3.11.12.1795450165816904257.5",
    ],
)
async def test_the_numbers_are_read(unopened: Connection, reply: str) -> None:
    message = delivery(reply)

    work = parse_delivery(unopened, message)

    assert is_delivery(message)
    assert (work.delivered, work.stream_sequence) == (3, 11)


@pytest.mark.parametrize(
    ("source", "sequence"),
    [
        ("JOBS 7", 7),
        ("JOBS:hub 7 a b c", 7),
        ("JOBS", None),
        ("JOBS seven", None),
        ("", None),
        ("JOBS 0", None),
        ("JOBS \u00b2", None),
    ],
)
async def test_the_sequence_of_the_source_is_read(
    unopened: Connection, source: str, sequence: int | None
) -> None:
    message = Message("work.a", b"", {"Nats-Stream-Source": source}, "$JS.ACK.WORK.workers.1.1.1.1.0")

    assert parse_delivery(unopened, message).source_sequence == sequence


async def test_answers_without_a_connection_tell_that_nothing_was_sent(unopened: Connection) -> None:
    work: Delivery = parse_delivery(unopened, delivery("$JS.ACK.WORK.workers.1.1.1.1.0"))

    assert not await work.ack()
    assert not await work.nak()
    assert not await work.term("broken")
    assert not await work.in_progress()
    assert not work.nak_now()


async def test_another_reply_is_not_a_delivery(unopened: Connection) -> None:
    assert not is_delivery(delivery(""))
    assert not is_delivery(delivery("_INBOX.1"))
    with pytest.raises(ValueError, match="not an ack subject"):
        parse_delivery(unopened, delivery("$JS.ACK.too.short"))
    with pytest.raises(ValueError, match="not an ack subject"):
        parse_delivery(unopened, delivery("$JS.ACK.hub.WORK.workers.3.11.12.1795450165816904257.5"))
