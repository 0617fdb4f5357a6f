"""The server's report about a consumer, parsed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self, cast

from pydantic import JsonValue

from trellis_nats.clock import parse_timestamp

__all__ = ["ConsumerInfo"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsumerInfo:
    """The answer to CONSUMER.INFO or CONSUMER.CREATE. Fields that the server leaves out have their defaults."""

    config: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """The server's copy of the configuration, to compare it or to create the consumer again."""
    ack_wait: timedelta | None = None
    """How long the server waits for an acknowledgement; where there is a `backoff`, that replaces it."""
    backoff: tuple[timedelta, ...] = ()
    max_deliver: int = 0
    """How often a message is delivered at most; 0 or less means no limit."""
    max_ack_pending: int = 0
    """How many messages may be delivered and not acknowledged; 0 or less means no limit."""
    pending: int = 0
    """Messages that the consumer has not delivered yet."""
    ack_pending: int = 0
    """Messages delivered and not acknowledged, those of delayed naks included (faults.md, B.2)."""
    waiting: int = 0
    """Pull requests that the server holds, of all clients."""
    delivered: int = 0
    """How many messages the consumer has delivered, redeliveries included."""
    delivered_sequence: int | None = None
    """The sequence of the last delivered message; of a new consumer, the one before its first message."""
    is_paused: bool = False
    server_time: datetime | None = None
    """The server's clock when it answered; None on servers before 2.10."""

    @classmethod
    def parse(cls, answer: Mapping[str, JsonValue]) -> Self:
        """Parse an answer of the server. Fields of an unexpected type count as left out."""
        config, delivered = _object(answer, "config"), _object(answer, "delivered")
        sequence = delivered.get("stream_seq")
        return cls(
            config=config,
            ack_wait=next(iter(_durations([config.get("ack_wait")])), None),
            backoff=_durations(config.get("backoff")),
            max_deliver=_number(config, "max_deliver"),
            max_ack_pending=_number(config, "max_ack_pending"),
            pending=_number(answer, "num_pending"),
            ack_pending=_number(answer, "num_ack_pending"),
            waiting=_number(answer, "num_waiting"),
            delivered=_number(delivered, "consumer_seq"),
            delivered_sequence=sequence if isinstance(sequence, int) else None,
            is_paused=answer.get("paused") is True,
            server_time=_instant(answer.get("ts")),
        )

    @property
    def is_exhausted(self) -> bool:
        """Whether the server delivers nothing more until a message is acknowledged."""
        return 0 < self.max_ack_pending <= self.ack_pending and self.pending > 0


def _object(content: Mapping[str, JsonValue], name: str) -> Mapping[str, JsonValue]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def _number(content: Mapping[str, JsonValue], name: str) -> int:
    value = content.get(name)
    return value if isinstance(value, int) else 0


def _durations(nanoseconds: JsonValue) -> tuple[timedelta, ...]:
    values = cast("Sequence[JsonValue]", nanoseconds) if isinstance(nanoseconds, list) else ()
    return tuple(
        timedelta(microseconds=value / 1000) for value in values if isinstance(value, int) and value > 0
    )


def _instant(text: JsonValue) -> datetime | None:
    try:
        return parse_timestamp(text) if isinstance(text, str) else None
    except ValueError:
        return None
