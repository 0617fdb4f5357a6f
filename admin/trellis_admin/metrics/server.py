"""Measures what the server reports: streams, the source of the work stream, consumers, and which queues are paused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pydantic import JsonValue
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats.errors import ApiError
from trellis_nats.ids import is_token
from trellis_nats.jobs.model.subjects import DELAYED_STREAM, EVENTS_PREFIX, STREAM, WORK_PREFIX, WORK_STREAM
from trellis_nats.jobs.pause import read_pause

from trellis_admin.metrics.exposition import Measurement
from trellis_admin.metrics.families import (
    CONSUMER_MESSAGES,
    PAUSED,
    SOURCE_LAG,
    STREAM_BYTES,
    STREAM_MESSAGES,
    STREAM_SEQUENCE,
)

__all__ = ["QueuePlace", "measure_consumers", "measure_pauses", "measure_streams"]

_STREAMS: Final = (STREAM, WORK_STREAM, DELAYED_STREAM)
_NOT_FOUND: Final = 404
_LISTED: Final = 256
"""The server lists so many consumers at a time."""


class QueuePlace(NamedTuple):
    """A queue, by its names and by where its events are."""

    service: str
    queue: str
    prefix: str

    @property
    def tokens(self) -> tuple[str, str]:
        """The two tokens of its subjects: the namespace, and the queue as subjects name it."""
        namespace, _, queue = self.prefix.removeprefix(f"{EVENTS_PREFIX}.").partition(".")
        return namespace, queue

    @property
    def work_subject(self) -> str:
        """Where its work messages are."""
        return f"{WORK_PREFIX}.{'.'.join(self.tokens)}"


async def measure_streams(connection: Connection) -> list[Measurement]:
    """Return the sizes of the streams of jobs, and what is not sourced yet. Streams that do not exist are left out.

    Raises:
        TransportError: the server did not answer.
    """
    found: list[Measurement] = []
    for stream in _STREAMS:
        info = await get_stream_info(connection, stream)
        if info is None:
            continue
        state = _object(info.get("state"))
        for family, name in (
            (STREAM_SEQUENCE, "last_seq"),
            (STREAM_MESSAGES, "messages"),
            (STREAM_BYTES, "bytes"),
        ):
            found.append(Measurement(family, (stream,), _number(state.get(name))))
        sources = info.get("sources")
        if isinstance(sources, list):
            lag = sum(_number(_object(source).get("lag")) for source in sources)
            found.append(Measurement(SOURCE_LAG, (stream,), lag))
    return found


async def measure_consumers(connection: Connection, queues: Sequence[QueuePlace]) -> list[Measurement]:
    """Return what the consumers of queues hold, by the subjects from which they deliver.

    Raises:
        TransportError: the server did not answer.
    """
    by_subject = {queue.work_subject: queue for queue in queues}
    found: list[Measurement] = []
    for consumer in await _list_consumers(connection, WORK_STREAM):
        queue = by_subject.get(str(_object(consumer.get("config")).get("filter_subject")))
        if queue is None:
            continue
        info = ConsumerInfo.parse(consumer)
        labels = (queue.service, queue.queue)
        found.append(Measurement(CONSUMER_MESSAGES, (*labels, "pending"), info.pending))
        found.append(Measurement(CONSUMER_MESSAGES, (*labels, "unacknowledged"), info.ack_pending))
    return found


async def measure_pauses(connection: Connection, queues: Sequence[QueuePlace]) -> list[Measurement]:
    """Return for each queue whether it is paused.

    Raises:
        TransportError: the server did not answer.
    """

    async def measure(queue: QueuePlace) -> Measurement:
        namespace, _ = queue.tokens
        # Other clients may publish under any name; a queue of this runtime has a token.
        may_be_paused = is_token(namespace) and is_token(queue.queue)
        is_paused = may_be_paused and await read_pause(connection, namespace, queue.queue) is not None
        return Measurement(PAUSED, (queue.service, queue.queue), int(is_paused))

    return await bounded_gather(queues, measure)


async def _list_consumers(connection: Connection, stream: str) -> list[Mapping[str, JsonValue]]:
    found: list[Mapping[str, JsonValue]] = []
    while True:
        try:
            answer = await call(connection, f"CONSUMER.LIST.{stream}", {"offset": len(found)}, repeat=True)
        except ApiError as error:
            if error.code == _NOT_FOUND:
                return found
            raise
        page = answer.get("consumers")
        listed = [_object(consumer) for consumer in page] if isinstance(page, list) else []
        found += listed
        if len(listed) < _LISTED:
            return found


def _object(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _number(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0
