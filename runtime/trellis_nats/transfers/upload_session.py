"""One upload on the side of the service: receives chunks in order, and stores them as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

from trellis_nats._calls.headers import ERROR_HEADERS, is_reply_subject
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.auth import SessionProofs
from trellis_nats.clock import now
from trellis_nats.codec import encode_json
from trellis_nats.errors import NotConnected, ObjectTooLarge, StoreFull, TransferError, TrellisError
from trellis_nats.ids import new_id
from trellis_nats.operations import TransferProgress
from trellis_nats.runtime import Runtime
from trellis_nats.stores.object import ObjectInfo
from trellis_nats.stores.store import Store
from trellis_nats.transfers.frames import encode_error, is_abandon, is_eof, read_sequence
from trellis_nats.transfers.grant import CHUNK_BYTES, LIFE, TRANSFER_INFO, TransferInfo, new_grant

__all__ = ["UploadSession"]

_log = logging.getLogger(__name__)

_WAITING_MAX: Final = 4
"""How many chunks may wait. A caller sends the next one after the answer to the last."""


class UploadSession:
    """Receives one upload into a store. It ends with the last chunk, at the first error, or when it expires."""

    def __init__(
        self,
        runtime: Runtime,
        store: Store,
        key: str,
        *,
        session_key: str = "",
        is_verified: bool = False,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
        life: timedelta = LIFE,
        may_start: Callable[[], bool] = lambda: True,
        on_progress: Callable[[TransferProgress], None] | None = None,
        on_stored: Callable[[ObjectInfo], Awaitable[None]] | None = None,
    ) -> None:
        """Listen for chunks.

        Args:
            runtime: of the service.
            store: where the content goes.
            key: its key there.
            session_key: the caller's; empty for a caller that does not sign.
            is_verified: whether that was checked. Each chunk must then be signed with it.
            content_type: stored with the object.
            metadata: stored with the object.
            max_bytes: how large the content may be. None: as large as the store permits.
            life: how long the caller may take for the first chunk, and then for each further one.
            may_start: whether the process can receive one more upload; asked when the first chunk comes.
            on_progress: called after each chunk.
            on_stored: awaited when the object is stored, before the caller learns it. What it raises ends the upload.
        """
        optional = {"maxBytes": max_bytes, "contentType": content_type}
        self.grant = new_grant(
            "send",
            runtime,
            session_key=session_key,
            transfer_id=new_id(),
            expires_at=now() + life,
            **{name: value for name, value in optional.items() if value is not None},
            **({"metadata": dict(metadata)} if metadata else {}),
        )
        """What the caller needs to upload."""
        self._proofs = SessionProofs(session_key, self.grant.subject) if is_verified else None
        self._connection = runtime.connection
        self._max_bytes = max_bytes
        self._life = life
        self._may_start = may_start
        self._on_progress = on_progress
        self._on_stored = on_stored
        self._messages: asyncio.Queue[Message] = asyncio.Queue(_WAITING_MAX)
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._expected = self._received = 0
        self._subscription = self._connection.subscribe(self.grant.subject, self._receive)
        self._storing = asyncio.create_task(
            store.put(key, self._content(), content_type=content_type, metadata=metadata)
        )
        self.task: Final = asyncio.create_task(self._run(), name=f"upload of {key}")
        """Ends when the upload does, with the stored object."""
        self.task.add_done_callback(self._on_ended)

    @property
    def has_begun(self) -> bool:
        """Whether a chunk was accepted."""
        return self._expected > 0

    async def completed(self) -> ObjectInfo:
        """Wait for the end, and return the stored object.

        Raises:
            TransferError: the upload failed, and nothing is stored; `reason` says why.
        """
        await asyncio.wait([self.task])
        if self.task.cancelled():
            raise TransferError("put", "session_closed")
        return self.task.result()

    def cancel(self) -> None:
        """End the session; the caller of a running upload gets an error. Safe to call twice."""
        self.task.cancel()

    async def close(self) -> None:
        """End the session, as `cancel`, and wait for it."""
        self.task.cancel()
        await asyncio.wait([self.task])

    def _receive(self, message: Message) -> None:
        if not is_reply_subject(message.reply) and not is_abandon(message.headers):
            return
        if self.task.done():
            self._refuse(message.reply, TransferError("put", "session_closed"))
            return
        if self._proofs is not None and not self._proofs.is_proven(message.headers, message.data):
            # The upload goes on: strangers must not end it.
            self._refuse(message.reply, TransferError("put", "invalid_proof"))
            return
        try:
            self._messages.put_nowait(message)
        except asyncio.QueueFull:
            self._refuse(message.reply, TransferError("put", "busy"))

    async def _run(self) -> ObjectInfo:
        reply = ""
        try:
            while True:
                message = await self._next()
                reply = message.reply
                await self._accept(message)
                if is_eof(message.headers):
                    info = await self._store_rest()
                    if self._on_stored is not None:
                        await self._on_stored(info)
                    written = TRANSFER_INFO.to_json(TransferInfo.of(info))
                    self._send(reply, encode_json({"status": "complete", "info": written}))
                    return info
                self._send(reply, encode_json({"status": "continue"}))
        except asyncio.CancelledError:
            self._refuse(reply, TransferError("put", "session_closed"))
            raise
        except TransferError as error:
            self._refuse(reply, error)
            raise
        except TrellisError as error:
            failure = _as_transfer_error(error)
            self._refuse(reply, failure)
            raise failure from error
        finally:
            self._storing.cancel()
            await asyncio.wait([self._storing])

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout(self._life.total_seconds()):
                return await self._messages.get()
        except TimeoutError:
            raise TransferError("put", "expired") from None

    async def _accept(self, message: Message) -> None:
        """Check a chunk, and pass it to the store.

        Raises:
            TransferError: it is not the next chunk, or too large.
        """
        if is_abandon(message.headers):
            raise TransferError("put", "abandoned")
        if not self.has_begun and not self._may_start():
            raise TransferError("put", "busy")
        sequence, size = read_sequence(message.headers), len(message.data)
        if sequence != self._expected:
            raise TransferError("put", "out_of_order", {"expected": self._expected, "actual": sequence})
        if size > CHUNK_BYTES:
            raise TransferError("put", "chunk_too_large", {"maxChunkBytes": CHUNK_BYTES})
        if self._max_bytes is not None and self._received + size > self._max_bytes:
            context = {"maxBytes": self._max_bytes, "attemptedBytes": self._received + size}
            raise TransferError("put", "max_bytes_exceeded", context)
        self._expected += 1
        self._received += size
        if not size:
            return
        await self._pass_on(message.data)
        if self._on_progress is not None:
            progress = TransferProgress(
                chunk_index=sequence, chunk_bytes=size, transferred_bytes=self._received
            )
            self._on_progress(progress)

    async def _store_rest(self) -> ObjectInfo:
        await self._pass_on(None)
        return await self._storing

    async def _pass_on(self, piece: bytes | None) -> None:
        """Wait until the store takes a piece; None is the end of the content. Raises what the store raises."""
        passing = asyncio.ensure_future(self._pieces.put(piece))
        try:
            await asyncio.wait([passing, self._storing], return_when=asyncio.FIRST_COMPLETED)
            if not passing.done():
                await self._storing
        finally:
            passing.cancel()

    async def _content(self) -> AsyncGenerator[bytes, None]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    def _refuse(self, reply_subject: str, error: TransferError) -> None:
        if reply_subject:
            self._send(reply_subject, encode_error(error, error_id=new_id()), ERROR_HEADERS)

    def _send(self, reply_subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        try:
            self._connection.send(reply_subject, data, headers=headers)
        except NotConnected:
            return  # the caller's request times out

    def _on_ended(self, task: asyncio.Task[ObjectInfo]) -> None:
        """Clean up. A callback, because a task that is cancelled before its first step runs nothing."""
        self._subscription.drain()
        while not self._messages.empty():
            self._refuse(self._messages.get_nowait().reply, TransferError("put", "session_closed"))
        self._storing.cancel()
        if self._storing.done() and not self._storing.cancelled():
            self._storing.exception()  # counts as retrieved: the task has raised it
        error = None if task.cancelled() else task.exception()
        reason = "cancelled" if task.cancelled() else error and (error.__cause__ or error)
        if reason is not None:
            _log.info(
                "the upload %s ended early: %s",
                self.grant.transfer_id,
                reason,
                extra=log_fields(LogEvent.UPLOAD_ENDED, subject=self.grant.subject),
            )


def _as_transfer_error(error: TrellisError) -> TransferError:
    match error:
        case ObjectTooLarge() | StoreFull():
            return TransferError("put", "max_bytes_exceeded")
        case _:
            return TransferError("put", "store_failed")
