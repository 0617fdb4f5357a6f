"""One upload on the side of its caller."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from trellis_nats._calls.headers import is_error
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.request import request
from trellis_nats.codec import decode_json
from trellis_nats.errors import InvalidPayload, NoResponders, NotConnected, TransferError
from trellis_nats.operations import TransferProgress
from trellis_nats.stores.object import ObjectInfo
from trellis_nats.stores.source import ObjectSource, cut_source, size_of_source
from trellis_nats.transfers.frames import ABANDON_HEADERS, chunk_headers, read_error
from trellis_nats.transfers.grant import TRANSFER_INFO, TransferGrant

__all__ = ["send_upload"]

_HEADROOM_BYTES: Final = 4096
"""Kept free below the server's message limit, for headers."""


async def send_upload(
    connection: Connection,
    grant: TransferGrant,
    source: ObjectSource,
    *,
    timeout: timedelta,
    on_progress: Callable[[TransferProgress], None] | None = None,
) -> ObjectInfo:
    """Send content to a service that granted an upload, and return what it stored.

    When this raises or is cancelled, the service learns it at once, and stores nothing.

    Args:
        connection: where the service is.
        grant: what the service answered.
        source: bytes, the path of a file, or an async iterator of bytes.
        timeout: how long each chunk waits for its answer.
        on_progress: called after each chunk that the service accepted.

    Raises:
        TransferError: the service refused a chunk, or the session has ended; `reason` says why.
        InvalidPayload: the grant is not that of an upload, or an answer is malformed.
        RequestTimeout: the service did not answer. It may have stored the content.
        TransportError: NATS could not send a chunk.
        OSError: the file cannot be read.
    """
    if grant.direction != "send":
        raise InvalidPayload("the grant of an upload", [("#/direction", "it is not that of an upload")])
    try:
        return await _send_chunks(connection, grant, source, timeout=timeout, on_progress=on_progress)
    except BaseException:
        with suppress(NotConnected):
            connection.send(grant.subject, b"", headers=ABANDON_HEADERS)
        raise


async def _send_chunks(
    connection: Connection,
    grant: TransferGrant,
    source: ObjectSource,
    *,
    timeout: timedelta,
    on_progress: Callable[[TransferProgress], None] | None,
) -> ObjectInfo:
    _check_size(grant, size_of_source(source) or 0)
    chunk_bytes = min(grant.chunk_bytes, connection.max_payload - _HEADROOM_BYTES)
    sequence = sent = 0
    async with aclosing(cut_source(source, chunk_bytes)) as chunks:
        async for chunk in chunks:
            sent += len(chunk)
            _check_size(grant, sent)
            await _exchange(connection, grant, chunk, sequence, timeout=timeout, eof=False)
            if on_progress is not None:
                on_progress(
                    TransferProgress(chunk_index=sequence, chunk_bytes=len(chunk), transferred_bytes=sent)
                )
            sequence += 1
    answer = await _exchange(connection, grant, b"", sequence, timeout=timeout, eof=True)
    match answer:
        case {"status": "complete", "info": info}:
            return TRANSFER_INFO.from_json(info).object_info()
        case _:
            raise _malformed()


async def _exchange(
    connection: Connection,
    grant: TransferGrant,
    data: bytes,
    sequence: int,
    *,
    timeout: timedelta,
    eof: bool,
) -> JsonValue:
    headers = chunk_headers(sequence, eof=eof)
    try:
        reply = await request(connection, grant.subject, data, headers=headers, timeout=timeout)
    except NoResponders:
        raise TransferError("put", "session_closed") from None
    if is_error(reply.headers):
        raise read_error(reply.data, operation="put")
    try:
        answer = decode_json(reply.data)
    except ValueError:
        raise _malformed() from None
    match answer:
        case {"status": "continue" | "complete"}:
            return answer
        case _:
            raise _malformed()


def _check_size(grant: TransferGrant, size: int) -> None:
    if grant.max_bytes is not None and size > grant.max_bytes:
        context = {"maxBytes": grant.max_bytes, "attemptedBytes": size}
        raise TransferError("put", "max_bytes_exceeded", context)


def _malformed() -> InvalidPayload:
    return InvalidPayload("the answer to a chunk", [("#/status", "it is neither continue nor complete")])
