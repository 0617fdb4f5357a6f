"""One download on the side of its caller."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Final

from trellis_nats._calls.headers import is_error
from trellis_nats._calls.outgoing import sign_message
from trellis_nats._calls.until_served import until_served
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.readiness import wait_ready
from trellis_nats._nats.wire.message import NO_RESPONDERS, Message
from trellis_nats.auth import Signer
from trellis_nats.clock import describe_duration
from trellis_nats.errors import (
    InvalidPayload,
    NoResponders,
    NotConnected,
    PermissionDenied,
    RequestTimeout,
    TransferError,
)
from trellis_nats.stores.object import ObjectInfo
from trellis_nats.stores.reader import write_digest
from trellis_nats.transfers.frames import (
    LEAVE_HEADERS,
    ack_headers,
    get_headers,
    is_eof,
    read_error,
    read_sequence,
)
from trellis_nats.transfers.grant import TransferGrant

__all__ = ["Download"]

_SILENT_AFTER: Final = timedelta(seconds=30)
"""How long to wait for the next frame."""
_AHEAD_MAX: Final = 16
"""How many frames the service may send before the first of them is acknowledged."""
_SHARED_AHEAD: Final = 32
"""How many of these all downloads of a client share: a server ends a connection that has 64 MiB under way."""
_AHEAD_MIN: Final = 2
"""How many each download may have in any case."""
_BYTES_MAX: Final = 64 * 1024 * 1024
"""How much of a service that does not wait for its reader is kept."""


class Download:
    """An object that a service grants. Iterate over it, or `read` it, once."""

    def __init__(
        self, connection: Connection, grant: TransferGrant, signer: Signer | None, *, timeout: timedelta
    ) -> None:
        if grant.direction != "receive" or grant.info is None:
            raise InvalidPayload("the grant of a download", [("#/direction", "it is not that of a download")])
        self.info: ObjectInfo = grant.info.object_info()
        """What is known about the object."""
        self._connection = connection
        self._grant = grant
        self._signer = signer
        self._timeout = timeout
        self._is_used = False

    def __repr__(self) -> str:
        return f"<Download {self.info.key} {self.info.size} B>"

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the content in chunks. Services written in Python send at most 4 MiB ahead of their reader.

        Raises:
            TransferError: the download failed; `reason` says why: `session_closed` (the minute is over, the download
                was made already, or the service stopped), `interrupted` (a connection was lost), `object_replaced`,
                `busy`, `reader_too_slow`, or, after the last chunk, `digest_mismatch`. Call the procedure again.
            RequestTimeout: the service is silent.
            TransportError: NATS could not send the request.
        """
        return self._chunks()

    async def read(self) -> bytes:
        """Return the whole content, verified. Raises as the iteration."""
        async with aclosing(self._chunks()) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        self._connection.require_own_loop()
        if self._is_used:
            raise TransferError("get", "session_closed")
        self._is_used = True
        sha256, size = hashlib.sha256(), 0
        receiver = _Receiver(self._connection, self._grant.subject, self._signer)
        try:
            message = await receiver.begin(self._timeout)
            sequence = 0
            while True:
                _check(message, sequence)
                if message.data:
                    sha256.update(message.data)
                    size += len(message.data)
                    yield message.data
                if is_eof(message.headers):
                    break
                receiver.acknowledge(sequence)
                sequence += 1
                message = await receiver.take(_SILENT_AFTER)
        except BaseException:
            receiver.leave()
            raise
        finally:
            receiver.close()
        digest = self.info.digest
        if size != self.info.size or (digest is not None and digest != write_digest(sha256.digest())):
            raise TransferError("get", "digest_mismatch", {"size": size})


def _check(message: Message, expected: int) -> None:
    if is_error(message.headers):
        raise read_error(message.data, operation="get")
    actual = read_sequence(message.headers, operation="get")
    if actual != expected:
        raise TransferError("get", "interrupted", {"expected": expected, "actual": actual})


class _Receiver:
    """The inbox of a download."""

    def __init__(self, connection: Connection, subject: str, signer: Signer | None) -> None:
        self._connection = connection
        self._subject = subject
        self._signer = signer
        self._frames: deque[Message] = deque()
        self._bytes = 0
        self._end: TransferError | PermissionDenied | None = None
        self._changed = asyncio.Event()
        connection.downloads += 1
        self._ahead = max(_AHEAD_MIN, min(_AHEAD_MAX, _SHARED_AHEAD // connection.downloads))
        self._inbox = connection.new_inbox()
        self._subscription = connection.subscribe(self._inbox, self._put)
        self._removers = [connection.on_publish_denied(subject, self._stop)]

    async def begin(self, timeout: timedelta) -> Message:
        """Ask for the object, and return the first frame."""
        try:
            return await until_served(self._request, timeout)
        except NoResponders:
            raise TransferError("get", "session_closed") from None

    async def take(self, silent_after: timedelta) -> Message:
        """Return the next frame; wait for it."""
        try:
            async with asyncio.timeout(silent_after.total_seconds()):
                while not self._frames:
                    if self._end is not None:
                        raise self._end
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise RequestTimeout(
                f"no frame of the download came within {describe_duration(silent_after)}"
            ) from None
        message = self._frames.popleft()
        self._bytes -= len(message.data)
        return message

    def acknowledge(self, sequence: int) -> None:
        """Tell the service that every frame up to this one was used, after each quarter of what it may send ahead."""
        every = max(1, self._ahead // 4)
        if sequence % every != every - 1:
            return
        with suppress(NotConnected):
            self._send(ack_headers(sequence))

    def leave(self) -> None:
        """Tell the service that no more frames are wanted."""
        with suppress(NotConnected):
            self._send(LEAVE_HEADERS)

    def close(self) -> None:
        """Receive no more frames."""
        self._connection.downloads -= 1
        for remove in self._removers:
            remove()
        self._subscription.cancel()

    async def _request(self, limit: timedelta) -> Message:
        due = self._connection.loop.time() + limit.total_seconds()
        await wait_ready(self._connection, due, self._subject)
        # Not earlier: a link that ended before the request was sent lost nothing of it.
        self._removers.append(self._connection.on_disconnect(self._on_disconnect))
        self._send(get_headers(self._ahead), reply=self._inbox)
        message = await self.take(limit)
        if message.status == NO_RESPONDERS:
            raise NoResponders(f'no process sends on "{self._subject}"')
        return message

    def _send(self, headers: Mapping[str, str], *, reply: str = "") -> None:
        signed = sign_message(self._signer, self._subject, b"", headers)
        self._connection.send(self._subject, b"", headers=signed, reply=reply)

    def _put(self, message: Message) -> None:
        if self._end is not None:
            return
        self._frames.append(message)
        self._bytes += len(message.data)
        if self._bytes > _BYTES_MAX:
            self._stop(TransferError("get", "reader_too_slow"))
        self._changed.set()

    def _on_disconnect(self) -> None:
        self._stop(TransferError("get", "interrupted"))

    def _stop(self, end: TransferError | PermissionDenied) -> None:
        self._end = self._end or end
        self._changed.set()
