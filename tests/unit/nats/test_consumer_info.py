"""What the server reports about a consumer, parsed once."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import JsonValue
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo

SECOND = 1_000_000_000


def test_every_field_is_parsed() -> None:
    config: dict[str, JsonValue] = {
        "ack_wait": 30 * SECOND,
        "backoff": [SECOND, 5 * SECOND],
        "max_ack_pending": 7,
        "durable_name": "pack",
    }

    info = ConsumerInfo.parse(
        {
            "config": config,
            "delivered": {"consumer_seq": 4, "stream_seq": 9},
            "paused": True,
            "num_pending": 1,
            "num_ack_pending": 2,
            "num_waiting": 3,
            "ts": "2026-01-02T03:04:05.123456789Z",
        }
    )

    assert info == ConsumerInfo(
        config=config,
        ack_wait=timedelta(seconds=30),
        backoff=(timedelta(seconds=1), timedelta(seconds=5)),
        max_ack_pending=7,
        pending=1,
        ack_pending=2,
        waiting=3,
        delivered=4,
        delivered_sequence=9,
        is_paused=True,
        server_time=datetime(2026, 1, 2, 3, 4, 5, 123456, UTC),
    )


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"config": None, "num_pending": "many", "delivered": [], "ts": "yesterday"},
        {"config": {"ack_wait": "soon", "backoff": [None]}, "delivered": {"stream_seq": None}, "ts": 7},
    ],
)
def test_what_is_missing_or_malformed_has_its_default(answer: dict[str, JsonValue]) -> None:
    info = ConsumerInfo.parse(answer)

    assert info == ConsumerInfo(config=info.config)
    assert (info.ack_wait, info.delivered_sequence, info.server_time) == (None, None, None)


@pytest.mark.parametrize(
    ("pending", "ack_pending", "limit", "is_exhausted"),
    [
        (5, 10, 10, True),
        (5, 11, 10, True),
        (0, 10, 10, False),
        (5, 9, 10, False),
        (5, 10, -1, False),
        (5, 0, 0, False),
    ],
)
def test_a_consumer_is_exhausted_when_its_limit_keeps_messages_back(
    pending: int, ack_pending: int, limit: int, *, is_exhausted: bool
) -> None:
    info = ConsumerInfo(pending=pending, ack_pending=ack_pending, max_ack_pending=limit)

    assert info.is_exhausted is is_exhausted
