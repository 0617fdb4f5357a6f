"""One upload on the side of its caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from datetime import timedelta
from functools import partial
from typing import Final

from pydantic import JsonValue

from trellis_nats._calls.headers import is_error
from trellis_nats._calls.outgoing import sign_message
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.request import request
from trellis_nats.auth import Signer
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
    signer: Signer | None = None,
) -> ObjectInfo:
    """Send content to a service that granted an upload, and return what it stored.

    When this raises or is cancelled, the service learns it at once, and stores nothing.

    Args:
        connection: where the service is.
        grant: what the service answered.
        source: bytes, the path of a file, or an async iterator of bytes.
        timeout: how long each chunk waits for its answer.
        on_progress: called after each chunk that the service accepted.
        signer: signs each chunk. None: they are not signed.

    Raises:
        TransferError: the service refused a chunk, or the session has ended; `reason` says why.
        InvalidPayload: the grant is not that of an upload, or an answer is malformed.
        RequestTimeout: the service did not answer. It may have stored the content.
        TransportError: NATS could not send a chunk.
        OSError: the file cannot be read.
    """
    if grant.direction != "send":
        raise InvalidPayload("the grant of an upload", [("#/direction", "it is not that of an upload")])
    sender = _Sender(connection, grant, signer, timeout=timeout)
    try:
        return await sender.send_all(source, on_progress)
    except BaseException:
        with suppress(NotConnected):
            sender.abandon()
        raise


class _Sender:
    """Sends the chunks of one upload."""

    def __init__(
        self, connection: Connection, grant: TransferGrant, signer: Signer | None, *, timeout: timedelta
    ) -> None:
        self._connection = connection
        self._grant = grant
        self._signer = signer
        self._timeout = timeout

    async def send_all(
        self, source: ObjectSource, on_progress: Callable[[TransferProgress], None] | None
    ) -> ObjectInfo:
        """Send the content, and return what the service stored. Raises as `send_upload`."""
        _check_size(self._grant, size_of_source(source) or 0)
        chunk_bytes = min(self._grant.chunk_bytes, self._connection.max_payload - _HEADROOM_BYTES)
        sequence = sent = 0
        async with aclosing(cut_source(source, chunk_bytes)) as chunks:
            async for chunk in chunks:
                sent += len(chunk)
                _check_size(self._grant, sent)
                await self._exchange(chunk, chunk_headers(sequence))
                if on_progress is not None:
                    on_progress(
                        TransferProgress(chunk_index=sequence, chunk_bytes=len(chunk), transferred_bytes=sent)
                    )
                sequence += 1
        match await self._exchange(b"", chunk_headers(sequence, eof=True)):
            case {"status": "complete", "info": info}:
                return TRANSFER_INFO.from_json(info).object_info()
            case _:
                raise _malformed()

    def abandon(self) -> None:
        """Tell the service that no more chunks follow.

        Raises:
            NotConnected: there is no connection.
        """
        headers = sign_message(self._signer, self._grant.subject, b"", ABANDON_HEADERS)
        self._connection.send(self._grant.subject, b"", headers=headers)

    async def _exchange(self, data: bytes, headers: Mapping[str, str]) -> JsonValue:
        subject = self._grant.subject
        write_headers = partial(sign_message, self._signer, subject, data, headers)
        try:
            reply = await request(
                self._connection, subject, data, headers=write_headers, timeout=self._timeout
            )
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
