"""What the server has stored at the end of a scenario: every event of stream JOBS, and what is left in JOBS_WORK."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import API_TIMEOUT, JsonObject, call, parse_object
from trellis_nats._nats.jetstream.request_many import request_many
from trellis_nats._nats.jetstream.streams import create_consumer, delete_consumer, get_stream_info
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats.ids import new_id

__all__ = ["Dump", "Record", "created_event", "dumped", "number_at", "stored_messages"]

_PAGE: Final = 2_000
_SUBJECT_TOKENS: Final = 6
"""Of `trellis.jobs.<service>.<queue>.<job>.<event>`."""


@dataclass(frozen=True, slots=True)
class Record:
    """One stored event."""

    sequence: int
    job: str
    event: str
    tries: int
    max_tries: int | None = None
    queue: str = ""
    error: str = ""
    at: int = 0
    """When it was stored: nanoseconds of the server's wall clock."""


@dataclass(frozen=True, slots=True)
class Dump:
    """Everything that is stored."""

    records: tuple[Record, ...]
    """The events, in the order of the stream."""
    work: tuple[str, ...] = ()
    """The jobs whose work message is still there."""
    again: int = 0
    """Deliveries beyond the first one of each message, as the server counts them; 0 where several queues were used."""


async def dumped(connection: Connection) -> Dump:
    """Read both streams from their beginning."""
    records = [
        record for message in await stored_messages(connection, "JOBS") if (record := _record(message))
    ]
    records.sort(key=lambda record: record.sequence)
    work = tuple(_job_of(message) for message in await stored_messages(connection, "JOBS_WORK"))
    return Dump(tuple(records), work, await _deliveries_again(connection))


async def created_event(connection: Connection, queue: str, job: str) -> bytes:
    """Return the body of the event that created a job, which its work message has too."""
    answer = await request(
        connection,
        f"$JS.API.DIRECT.GET.JOBS.trellis.jobs.mill.{queue}.{job}.created",
        b"",
        timeout=API_TIMEOUT,
    )
    return answer.data


def number_at(info: Mapping[str, JsonValue] | None, *path: str) -> int:
    """Return a number of an answer of the server; 0 where there is none."""
    found: JsonValue = None if info is None else dict(info)
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, int) else 0


async def stored_messages(connection: Connection, stream: str) -> list[Message]:
    """Read a whole stream."""
    info = await get_stream_info(connection, stream)
    total = number_at(info, "state", "messages")
    if total == 0:
        return []
    return await (_walked if stream == "JOBS_WORK" else _pulled)(connection, stream, info)


async def _pulled(connection: Connection, stream: str, info: JsonObject | None) -> list[Message]:
    """Read in pages: half a million events at once would cut the connection as a slow consumer."""
    total, name = number_at(info, "state", "messages"), f"dump_{new_id()}"
    await create_consumer(
        connection,
        stream,
        {"name": name, "ack_policy": "none", "mem_storage": True, "num_replicas": 1},
    )
    found: list[Message] = []
    while len(found) < total:
        page = await request_many(
            connection,
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}",
            {"batch": _PAGE, "no_wait": True},
            lambda message, count: message.status != 0 or count == _PAGE,
        )
        found += [message for message in page if not message.status]
    await delete_consumer(connection, stream, name)
    return found


async def _walked(connection: Connection, stream: str, info: JsonObject | None) -> list[Message]:
    """A work queue takes no second consumer for the same subjects."""
    found: list[Message] = []
    sequence, last = number_at(info, "state", "first_seq"), number_at(info, "state", "last_seq")
    while sequence <= last:
        question = json.dumps({"seq": sequence, "next_by_subj": ">"}).encode()
        answer = await request(connection, f"$JS.API.DIRECT.GET.{stream}", question, timeout=API_TIMEOUT)
        if answer.status:
            break
        found.append(answer)
        sequence = int(answer.headers["Nats-Sequence"]) + 1
    return found


async def _deliveries_again(connection: Connection) -> int:
    """Where one queue alone was used, its last message's place is the number of its messages."""
    listed = (await call(connection, "CONSUMER.LIST.JOBS_WORK", {})).get("consumers")
    delivered = [
        (number_at(each, "delivered", "consumer_seq"), number_at(each, "delivered", "stream_seq"))
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and number_at(each, "delivered", "consumer_seq")
    ]
    return sum(count - last for count, last in delivered) if len(delivered) == 1 else 0


def _record(message: Message) -> Record | None:
    tokens = message.subject.split(".")
    if len(tokens) != _SUBJECT_TOKENS:
        return None
    content = parse_object(message.data)
    tries, most = content.get("tries"), content.get("maxTries")
    acknowledgement = message.reply.split(".")
    return Record(
        sequence=int(acknowledgement[-4]),
        job=tokens[4],
        event=tokens[5],
        tries=tries if isinstance(tries, int) else -1,
        max_tries=most if isinstance(most, int) else None,
        queue=tokens[3],
        error=str(content.get("error", "")),
        at=int(acknowledgement[-2]),
    )


def _job_of(message: Message) -> str:
    return str(parse_object(message.data).get("jobId", "no job"))
