"""Sends bad input to a service among good input, and checks what every surface promises."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.codec import decode_json
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.bad_input import Bad
from tests.support.bad_targets import Target, TargetFactory
from tests.support.eventually import eventually
from tests.support.raw_publisher import raw_publisher

__all__ = ["Outcome", "bombard"]

_BATCH: Final = 500
"""Below what a procedure lets wait, and what a subscription buffers."""
_BATCH_BYTES: Final = 16 * 1024 * 1024
_GOOD: Final = 3
"""Honest messages in each batch."""
_ANSWERED_WITHIN: Final = timedelta(seconds=100)
_NEVER: Final = (
    LogEvent.CALLBACK_RAISED,
    LogEvent.CONNECTION_LOST,
    LogEvent.HANDLER_RAISED,
    LogEvent.INTERNAL_ERROR,
)
_LINE_MAX: Final = 16 * 1024


@dataclass
class Outcome:
    """What became of the input."""

    sent: int = 0
    """Bad messages."""
    good: int = 0
    """Honest messages, all of which were dealt with as they must be."""
    errors: Counter[str] = field(default_factory=Counter[str])
    """The error replies, by type."""
    lines: Counter[str] = field(default_factory=Counter[str])
    """The lines of the log, warnings and worse, by event."""
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = self.sent / self.seconds
        return f"{self.sent} bad ({rate:.0f}/s), {self.good} good, {dict(self.errors)}, logged {dict(self.lines)}"


class _Answers:
    """Collects what is sent to the reply subjects."""

    def __init__(self, inbox: str) -> None:
        self.inbox = inbox
        self.answered: set[str] = set()
        self.errors: Counter[str] = Counter()

    def take(self, message: Message) -> None:
        self.answered.add(message.subject)
        if message.headers.get("status") == "error":
            body = decode_json(message.data)
            assert isinstance(body, dict), message
            self.errors[str(body["type"])] += 1


def _batches(messages: Iterable[Bad]) -> Iterator[list[Bad]]:
    batch: list[Bad] = []
    size_bytes = 0
    for bad in messages:
        batch.append(bad)
        size_bytes += len(bad.body) + len(bad.headers)
        if len(batch) >= _BATCH or size_bytes >= _BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


async def bombard(
    server: NatsServer, factory: TargetFactory, messages_for: Callable[[Target], Iterable[Bad]]
) -> Outcome:
    """Send bad messages to a target among honest ones, as fast as the service answers.

    Raises:
        AssertionError: a promise was broken: an honest message was not dealt with, a call not answered, something logged
            that must not be, or too much.
    """
    outcome = Outcome()
    async with factory(server) as target, raw_publisher(server) as raw, _answers(server) as answers:
        await target.do_good()
        with LogSignals(logging.WARNING) as signals:
            began = time.monotonic()
            for batch in _batches(messages_for(target)):
                for bad in batch:
                    reply = f"{answers.inbox}.{outcome.sent}".encode() if target.is_answered else b""
                    subject, body = target.address(bad.body)
                    raw.publish(subject, body, reply=reply, headers=bad.headers)
                    outcome.sent += 1
                await asyncio.gather(raw.flush(), *(target.do_good() for _ in range(_GOOD)))
                outcome.good += _GOOD
                if target.is_answered:
                    await eventually(lambda: len(answers.answered) == outcome.sent, within=_ANSWERED_WITHIN)
            await target.wait_drained()
            outcome.seconds = time.monotonic() - began
        await target.do_good()
    outcome.errors = answers.errors
    outcome.lines = Counter(_events(signals))
    _check_log(signals, outcome)
    return outcome


def _events(signals: LogSignals) -> Iterator[str]:
    for record in signals.records:
        yield str(vars(record)["event_name"])


def _check_log(signals: LogSignals, outcome: Outcome) -> None:
    for event in _NEVER:
        assert not signals.of(event), [record.getMessage()[:500] for record in signals.of(event)]
    for record in signals.records:
        text = record.getMessage()
        assert len(text) <= _LINE_MAX, text[:500]
        assert "\n" not in text, text[:500]
    for name, lines in outcome.lines.items():
        # A second each, for each of a few reasons.
        assert lines <= 4 * (outcome.seconds + 2), (name, lines, outcome.seconds)


@asynccontextmanager
async def _answers(server: NatsServer) -> AsyncGenerator[_Answers]:
    connection = await Connection.open(server.url, settings=ConnectionSettings())
    try:
        answers = _Answers(connection.new_inbox())
        connection.subscribe(f"{answers.inbox}.*", answers.take)
        await connection.flush()
        yield answers
    finally:
        await connection.close()
