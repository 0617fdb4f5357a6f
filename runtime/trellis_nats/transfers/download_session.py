"""One download on the side of the service: waits for the caller's request, then sends the object."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from datetime import timedelta
from typing import Final

from trellis_nats._calls.headers import ERROR_HEADERS, is_reply_subject
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.subscriptions import Subscription
from trellis_nats._nats.wire.message import NO_RESPONDERS, Message
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.auth import SessionProofs
from trellis_nats.auth.session_key import inbox_prefix_of
from trellis_nats.clock import describe_duration
from trellis_nats.errors import (
    NotConnected,
    ObjectDamaged,
    ObjectReplaced,
    TransferError,
    TrellisError,
)
from trellis_nats.ids import new_id
from trellis_nats.stores.object import StoredObject
from trellis_nats.transfers.frames import (
    chunk_headers,
    encode_error,
    is_leave,
    read_ack,
    read_ahead,
    wants_acks,
)
from trellis_nats.transfers.grant import CHUNK_BYTES, LIFE

__all__ = ["DownloadSession"]

_log = logging.getLogger(__name__)

_AHEAD_MAX: Final = 16
"""How many frames, of at most 256 KiB, the service sends before the caller acknowledges the first of them; it may want fewer."""
_PATIENCE: Final = timedelta(seconds=60)
"""How long a caller may use no frame before it counts as gone."""


class DownloadSession:
    """One grant: it serves one download, and ends."""

    def __init__(
        self,
        connection: Connection,
        stored: StoredObject,
        *,
        rpc: str,
        subject: str,
        session_key: str,
        is_verified: bool,
        may_start: Callable[[], bool],
        on_end: Callable[[DownloadSession], None],
    ) -> None:
        """Listen for the caller's request.

        Args:
            connection: where the caller is.
            stored: what it gets.
            rpc: the procedure, for the log.
            subject: where it asks.
            session_key: the caller's; empty for a caller that does not sign. One that does gets the object only on
                its own inbox.
            is_verified: whether that was checked. What the caller sends must then be signed with it.
            may_start: whether the process can send one more object now.
            on_end: called once, when the session has ended.
        """
        self.task: asyncio.Task[None] | None = None
        """Sends the object; None before the caller asked for it."""
        self._connection = connection
        self._stored = stored
        self._rpc = rpc
        self._inbox_prefix = f"{inbox_prefix_of(session_key)}." if session_key else ""
        self._proofs = SessionProofs(session_key, subject) if is_verified else None
        self._may_start = may_start
        self._on_end = on_end
        self._reply_subject = ""
        self._answers = connection.new_inbox()
        self._acked = -1
        self._progressed = asyncio.Event()
        self._end_reason: str | None = None
        self._is_gone = False
        self._has_ended = False
        self._subscriptions: list[Subscription] = [connection.subscribe(subject, self._receive)]
        self._expiry = connection.loop.call_later(LIFE.total_seconds(), self._finish)

    def interrupt(self, reason: str) -> None:
        """End the session; a caller that is receiving gets an error."""
        self._end_reason = self._end_reason or reason
        if self.task is None:
            self._finish()
        else:
            self.task.cancel()

    def _receive(self, message: Message) -> None:
        if self._proofs is not None and not self._proofs.is_proven(message.headers, message.data):
            self._refuse(message.reply, "invalid_proof")
            return
        if self.task is not None or self._has_ended:
            self._receive_more(message)
            return
        if not is_reply_subject(message.reply):
            return
        if not message.reply.startswith(self._inbox_prefix):
            self._refuse(message.reply, "reply_subject_mismatch")
            return
        if not self._may_start():
            self._refuse(message.reply, "busy")
            return
        self._expiry.cancel()
        self._reply_subject = message.reply
        self._subscriptions.append(self._connection.subscribe(self._answers, self._on_answer))
        sending = self._send_object(_ahead_of(message.headers))
        self.task = asyncio.create_task(sending, name=f"download of {self._stored.info.key}")
        self.task.add_done_callback(self._on_sent)

    def _receive_more(self, message: Message) -> None:
        """Handle what the caller sends after its request."""
        acked = read_ack(message.headers)
        if is_leave(message.headers):
            self._leave()
        elif acked is None:
            self._refuse(message.reply, "session_closed")
        else:
            self._acked = max(self._acked, acked)
            self._progressed.set()

    def _leave(self) -> None:
        self._is_gone = True
        self.interrupt("the caller is gone")

    async def _send_object(self, ahead: int | None) -> None:
        sequence = 0
        async with aclosing(self._stored.chunks()) as chunks:
            async for chunk in chunks:
                for start in range(0, len(chunk), CHUNK_BYTES):
                    await self._send(chunk[start : start + CHUNK_BYTES], sequence, ahead=ahead)
                    sequence += 1
        await self._send(b"", sequence, ahead=ahead, eof=True)

    async def _send(self, data: bytes, sequence: int, *, ahead: int | None, eof: bool = False) -> None:
        """Send a frame; wait for the caller, the connection, and space in its socket, first."""
        while ahead is not None and sequence - self._acked > ahead:
            self._progressed.clear()
            async with asyncio.timeout(_PATIENCE.total_seconds()):
                await self._progressed.wait()
        headers = chunk_headers(sequence, eof=eof)
        while True:  # after an outage the session is interrupted: frames may be lost
            await self._connection.wait_connected()
            try:
                await self._connection.publish(
                    self._reply_subject, data, headers=headers, reply=self._answers
                )
            except NotConnected:
                continue
            return

    def _on_answer(self, message: Message) -> None:
        # A frame that no process received is lost, so the download is too, even if the caller returns.
        if message.status == NO_RESPONDERS:
            self._leave()

    def _on_sent(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            if not self._is_gone:
                self._refuse(self._reply_subject, "session_closed")
            self._log_end(self._end_reason or "cancelled", logging.INFO)
        elif (error := task.exception()) is not None:
            self._fail(error)
        self._finish()

    def _fail(self, error: BaseException) -> None:
        match error:
            case TimeoutError():
                self._refuse(self._reply_subject, "session_closed")
                self._log_end(f"the caller used nothing for {describe_duration(_PATIENCE)}", logging.INFO)
            case NotConnected():
                self._log_end("the connection was lost", logging.INFO)
            case ObjectReplaced():
                self._refuse(self._reply_subject, "object_replaced")
                self._log_end(str(error), logging.WARNING)
            case ObjectDamaged():
                self._refuse(self._reply_subject, "object_damaged")
                self._log_end(str(error), logging.ERROR)
            case TrellisError():
                self._refuse(self._reply_subject, "read_failed")
                self._log_end(str(error), logging.WARNING)
            case _:
                self._refuse(self._reply_subject, "read_failed")
                _log.error(
                    'rpc "%s": internal error in a download',
                    self._rpc,
                    exc_info=error,
                    extra=log_fields(LogEvent.INTERNAL_ERROR, rpc=self._rpc),
                )

    def _log_end(self, reason: str, level: int) -> None:
        _log.log(
            level,
            'rpc "%s": the download of "%s" ended early: %s',
            self._rpc,
            self._stored.info.key,
            reason,
            extra=log_fields(LogEvent.DOWNLOAD_ENDED, rpc=self._rpc),
        )

    def _refuse(self, reply_subject: str, reason: str) -> None:
        if not is_reply_subject(reply_subject):
            return
        body = encode_error(TransferError("get", reason), error_id=new_id())
        try:
            self._connection.send(reply_subject, body, headers=ERROR_HEADERS)
        except NotConnected:
            return  # the caller notices the silence

    def _finish(self) -> None:
        self._has_ended = True
        self._expiry.cancel()
        for subscription in self._subscriptions:
            subscription.drain()
        self._subscriptions.clear()
        self._on_end(self)


def _ahead_of(headers: Mapping[str, str]) -> int | None:
    """Return how many frames to send ahead of the acknowledgements; None: the caller sends none."""
    if not wants_acks(headers):
        return None
    return max(1, min(_AHEAD_MAX, read_ahead(headers) or _AHEAD_MAX))
