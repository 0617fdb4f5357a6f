"""Streams and consumers: look-ups, creation, deletion, and reads of the newest message."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import API_TIMEOUT, JsonObject, api_subject, call
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.read_budget import AnswerSize
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.headers import parse_headers
from trellis_nats._nats.wire.message import Message
from trellis_nats.clock import parse_timestamp
from trellis_nats.errors import ApiError

__all__ = [
    "StoredMessage",
    "count_by_subject",
    "count_messages",
    "count_subjects",
    "create_consumer",
    "create_stream",
    "delete_consumer",
    "get_consumer_info",
    "get_last_message",
    "get_last_message_from_leader",
    "get_next_message",
    "get_next_message_from_leader",
    "get_stream_info",
    "purge_stream",
    "update_consumer",
    "update_stream",
]

_NOT_FOUND: Final = 404
_BEYOND: Final = 1_000_000_000
"""An offset behind every list: the answer has the total alone (measured on 2.10, 2.12 and 2.15)."""
_STORE_HEADERS: Final = (
    "Nats-Stream",
    "Nats-Subject",
    "Nats-Sequence",
    "Nats-Time-Stamp",
    "Nats-Num-Pending",
)
"""Added by the server to the answer of a direct read; not part of the message."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message of a stream."""

    subject: str
    sequence: int
    data: bytes
    headers: Mapping[str, str]
    time: datetime
    """When the server stored it."""


async def get_last_message(
    connection: Connection,
    stream: str,
    subject_filter: str,
    *,
    timeout: timedelta = API_TIMEOUT,
    answer: AnswerSize = AnswerSize.LARGE,
) -> StoredMessage | None:
    """Read the newest message under a subject filter, wildcards allowed; None when there is none.

    `answer` is how large the message may be. Only so many reads are under way at a time as the connection can take;
    `timeout` counts from the turn of this one.

    Any replica may answer, so the answer can be slightly out of date. The filter is part of the request's own subject,
    so that permissions can confine an account to the subjects of its service.

    Raises:
        NoResponders: there is no such stream, or it is without `allow_direct`.
        ApiError: the request is malformed.
        RequestTimeout: the server did not answer.
        NotConnected: there was no connection within `timeout`.
        PermissionDenied: the account may not read this.
    """
    operation = f"DIRECT.GET.{stream}.{subject_filter}"
    message = await request(
        connection, api_subject(connection, operation), timeout=timeout, repeat=True, answer=answer
    )
    return _direct_answer(message, operation)


async def get_last_message_from_leader(
    connection: Connection,
    stream: str,
    subject: str,
    *,
    timeout: timedelta = API_TIMEOUT,
    answer: AnswerSize = AnswerSize.LARGE,
) -> StoredMessage | None:
    """Read the newest message of a subject from the stream's leader, whose answer is up to date. See `get_last_message`.

    Raises:
        ApiError: JetStream answered with an error other than "not found".
        RequestTimeout: the server did not answer.
        NotConnected: there was no connection within `timeout`.
        PermissionDenied: the account may not read this.
    """
    return await _read_from_leader(connection, stream, {"last_by_subj": subject}, timeout, answer)


async def get_next_message(
    connection: Connection, stream: str, subject: str, start: int, *, timeout: timedelta = API_TIMEOUT
) -> StoredMessage | None:
    """Read the oldest message of a subject from sequence `start` on; None when there is none.

    Any replica may answer. Raises as `get_last_message`.
    """
    operation = f"DIRECT.GET.{stream}"
    body = json.dumps({"seq": start, "next_by_subj": subject}).encode()
    message = await request(
        connection,
        api_subject(connection, operation),
        body,
        timeout=timeout,
        repeat=True,
        answer=AnswerSize.LARGE,
    )
    return _direct_answer(message, operation)


async def get_next_message_from_leader(
    connection: Connection,
    stream: str,
    subject: str,
    start: int,
    *,
    timeout: timedelta = API_TIMEOUT,
    answer: AnswerSize = AnswerSize.LARGE,
) -> StoredMessage | None:
    """Read the oldest message of a subject from sequence `start` on, from the stream's leader; None when there is none.

    Raises as `get_last_message_from_leader`.
    """
    body: JsonObject = {"seq": start, "next_by_subj": subject}
    return await _read_from_leader(connection, stream, body, timeout, answer)


async def _read_from_leader(
    connection: Connection, stream: str, body: JsonObject, timeout: timedelta, answer: AnswerSize
) -> StoredMessage | None:
    found = await _found(connection, f"STREAM.MSG.GET.{stream}", body, timeout, answer)
    match found:
        case {"message": {"subject": str(stored_subject), "seq": int(sequence), "time": str(time), **rest}}:
            _, _, headers = parse_headers(base64.b64decode(str(rest.get("hdrs", ""))))
            data = base64.b64decode(str(rest.get("data", "")))
            return StoredMessage(stored_subject, sequence, data, headers, parse_timestamp(time))
        case _:
            return None


async def get_stream_info(connection: Connection, stream: str) -> JsonObject | None:
    """Look up a stream: the server's answer; None when there is no such stream. Raises as `get_last_message_from_leader`."""
    return await _found(connection, f"STREAM.INFO.{stream}")


async def count_messages(connection: Connection, stream: str, subject: str) -> int:
    """Return how many messages a stream has on one subject. Raises as `get_last_message_from_leader`."""
    return (await count_by_subject(connection, stream, subject)).get(subject, 0)


async def count_by_subject(connection: Connection, stream: str, subject_filter: str) -> dict[str, int]:
    """Return how many messages a stream has on each subject under a filter, of up to 100,000 subjects.

    There are none where there is no such stream. Raises as `get_last_message_from_leader`.
    """
    match await _found(connection, f"STREAM.INFO.{stream}", {"subjects_filter": subject_filter}):
        case {"state": {"subjects": dict(counts)}}:
            return {subject: count for subject, count in counts.items() if isinstance(count, int)}
        case _:
            return {}


async def count_subjects(connection: Connection, stream: str, subject_filter: str) -> int:
    """Return how many subjects under a filter have messages, without listing them. Raises as `count_by_subject`."""
    body: JsonObject = {"subjects_filter": subject_filter, "offset": _BEYOND}
    found = await _found(connection, f"STREAM.INFO.{stream}", body)
    total = None if found is None else found.get("total")
    return total if isinstance(total, int) else 0


async def get_consumer_info(
    connection: Connection, stream: str, consumer: str, *, timeout: timedelta = API_TIMEOUT
) -> ConsumerInfo | None:
    """Look up a consumer; None when there is no such consumer or stream. Raises as `get_last_message_from_leader`."""
    answer = await _found(connection, f"CONSUMER.INFO.{stream}.{consumer}", timeout=timeout)
    return None if answer is None else ConsumerInfo.parse(answer)


async def create_stream(connection: Connection, config: Mapping[str, JsonValue]) -> JsonObject:
    """Create a stream from a raw configuration. An equal stream that exists already is not an error.

    Raises:
        ApiError: JetStream refused; err_code 10058 when a stream of this name has another configuration.
        PermissionDenied: the account may not create it.
        RequestTimeout: the server did not answer; it may have been created.
        NotConnected: there was no connection within the time for a request.
    """
    return await call(connection, f"STREAM.CREATE.{config['name']}", config)


async def update_stream(connection: Connection, config: Mapping[str, JsonValue]) -> JsonObject:
    """Replace the configuration of a stream. What `config` leaves out gets its default.

    Raises:
        ApiError: JetStream refused.
        PermissionDenied: the account may not update it.
        RequestTimeout: the server did not answer; it may have been updated.
        NotConnected: there was no connection within the time for a request.
    """
    return await call(connection, f"STREAM.UPDATE.{config['name']}", config)


async def create_consumer(
    connection: Connection,
    stream: str,
    config: Mapping[str, JsonValue],
    *,
    timeout: timedelta = API_TIMEOUT,
    repeat: bool = False,
) -> ConsumerInfo:
    """Create a consumer from a raw configuration; never change an existing one.

    With `repeat`, send the request again on the next link if the answer does not arrive on this one.

    Raises:
        ApiError: JetStream refused; err_code 10148 when a consumer of this name has another configuration.
        PermissionDenied: the account may not create it.
        RequestTimeout: the server did not answer; it may have been created.
        NotConnected: there was no connection within the time for a request.
    """
    return await _write_consumer(connection, stream, config, "create", timeout, repeat=repeat)


async def update_consumer(
    connection: Connection, stream: str, config: Mapping[str, JsonValue]
) -> ConsumerInfo:
    """Replace the configuration of a consumer. What `config` leaves out gets its default, also its metadata.

    Raises as `create_consumer`.
    """
    return await _write_consumer(connection, stream, config, "update", API_TIMEOUT)


async def _write_consumer(
    connection: Connection,
    stream: str,
    config: Mapping[str, JsonValue],
    action: str,
    timeout: timedelta,
    *,
    repeat: bool = False,
) -> ConsumerInfo:
    body: JsonObject = {"stream_name": stream, "config": dict(config), "action": action}
    tokens = ["CONSUMER.CREATE", stream, str(config.get("durable_name") or config["name"])]
    if "filter_subject" in config:
        tokens.append(str(config["filter_subject"]))
    return ConsumerInfo.parse(await call(connection, ".".join(tokens), body, timeout=timeout, repeat=repeat))


async def delete_consumer(connection: Connection, stream: str, consumer: str) -> None:
    """Delete a consumer. One that does not exist is not an error.

    Raises:
        ApiError: JetStream refused.
        PermissionDenied: the account may not delete it.
        RequestTimeout: the server did not answer; the consumer may be deleted.
        NotConnected: there was no connection within the time for a request.
    """
    await _found(connection, f"CONSUMER.DELETE.{stream}.{consumer}")


async def purge_stream(
    connection: Connection, stream: str, subject_filter: str, *, up_to: int | None = None
) -> int:
    """Delete the messages under a filter up to a sequence, included; None: all of them. Return how many there were.

    Raises:
        ApiError: JetStream refused.
        PermissionDenied: the account may not purge the stream.
        RequestTimeout: the server did not answer; the messages may be deleted.
        NotConnected: there was no connection within the time for a request.
    """
    body: JsonObject = {"filter": subject_filter}
    if up_to is not None:
        body["seq"] = up_to + 1
    answer = await call(connection, f"STREAM.PURGE.{stream}", body)
    purged = answer.get("purged")
    return purged if isinstance(purged, int) else 0


async def _found(
    connection: Connection,
    operation: str,
    body: Mapping[str, JsonValue] | None = None,
    timeout: timedelta = API_TIMEOUT,
    answer: AnswerSize | None = None,
) -> JsonObject | None:
    try:
        return await call(connection, operation, body, timeout=timeout, repeat=True, answer=answer)
    except ApiError as error:
        if error.code == _NOT_FOUND:
            return None
        raise


def _direct_answer(message: Message, operation: str) -> StoredMessage | None:
    if message.status == _NOT_FOUND:
        return None
    if message.status:
        raise ApiError(request=operation, code=message.status, err_code=0, description=message.description)
    return _read_direct(message)


def _read_direct(answer: Message) -> StoredMessage:
    headers = {name: value for name, value in answer.headers.items() if name not in _STORE_HEADERS}
    return StoredMessage(
        answer.headers["Nats-Subject"],
        int(answer.headers["Nats-Sequence"]),
        answer.data,
        headers,
        parse_timestamp(answer.headers["Nats-Time-Stamp"]),
    )
