"""Reads the messages under a subject directly from a stream, without a consumer, a batch at a time."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import API_TIMEOUT, JsonObject, api_subject
from trellis_nats._nats.jetstream.request_many import request_many
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import NO_RESPONDERS, Message
from trellis_nats.errors import ApiError

__all__ = ["BatchEntry", "probe_direct", "read_direct_batch", "read_direct_last"]

_BATCH: Final = 256
_BATCH_BYTES: Final = 1024 * 1024
"""Bodies are included, so a batch is limited in bytes too."""
_END_OF_BATCH: Final = 204
_NOT_FOUND: Final = 404


class BatchEntry(NamedTuple):
    """One message of the stream."""

    sequence: int
    data: bytes


async def read_direct_batch(
    connection: Connection, stream: str, subject: str, *, start: int
) -> list[BatchEntry]:
    """Return the next messages under a subject, oldest first, from sequence `start` on; empty when there are none.

    Up to 256 messages or 1 MiB; servers before 2.11 do not know batches and return one message.

    Raises:
        ApiError: the stream cannot be read directly: it has no `allow_direct`.
        RequestTimeout: the server did not answer, or the account may not read the stream.
        NotConnected: there was no connection.
    """
    subject_of_request = api_subject(connection, f"DIRECT.GET.{stream}")
    body: JsonObject = {
        "seq": start,
        "next_by_subj": subject,
        "batch": _BATCH,
        "max_bytes": _BATCH_BYTES,
    }
    answers = await request_many(connection, subject_of_request, body, _is_last)
    _check(answers[-1], subject_of_request)
    return [_entry(answer) for answer in answers if not answer.status]


async def read_direct_last(connection: Connection, stream: str, subject: str) -> BatchEntry | None:
    """Return the newest message of one subject; None when there is none.

    The account needs the permission of `read_direct_batch`, and none for the subject. Raises as that, and `NoResponders`.
    """
    subject_of_request = api_subject(connection, f"DIRECT.GET.{stream}")
    body = json.dumps({"last_by_subj": subject}).encode()
    answer = await request(connection, subject_of_request, body, timeout=API_TIMEOUT)
    _check(answer, subject_of_request)
    return None if answer.status else _entry(answer)


async def probe_direct(connection: Connection, stream: str, subject: str) -> None:
    """Find out whether the account may read a stream directly.

    Raises:
        PermissionDenied: it may not.
        RequestTimeout: the server did not answer.
    """
    body = json.dumps({"seq": 1, "next_by_subj": subject}).encode()
    await request(connection, api_subject(connection, f"DIRECT.GET.{stream}"), body, timeout=API_TIMEOUT)


def _check(answer: Message, request_subject: str) -> None:
    if answer.status not in {0, _END_OF_BATCH, _NOT_FOUND}:
        what = "the stream has no allow_direct" if answer.status == NO_RESPONDERS else answer.description
        raise ApiError(request=request_subject, code=answer.status, err_code=0, description=what)


def _entry(answer: Message) -> BatchEntry:
    return BatchEntry(int(answer.headers["Nats-Sequence"]), answer.data)


def _is_last(message: Message, _count: int) -> bool:
    """Return whether no answer follows: after a status, or after the only message of a server without batches."""
    return message.status != 0 or "Nats-Num-Pending" not in message.headers
