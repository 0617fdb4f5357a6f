"""Receives the calls of one procedure, runs a bounded number at a time, and sends the replies."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from functools import partial
from typing import Any, Final

from trellis_nats._calls.headers import is_reply_subject
from trellis_nats._calls.incoming import IncomingCall, read_call
from trellis_nats._calls.replies import Reply
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.subscriptions import Subscription
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import now
from trellis_nats.errors import NotConnected, PayloadTooLarge
from trellis_nats.rpc.responder import Responder
from trellis_nats.specs import RpcSpec

__all__ = ["RpcServer"]

_log = logging.getLogger(__name__)

_RUNNING_MAX: Final = 100
_WAITING_MAX: Final = 1000
_WITHDRAWAL: Final = timedelta(seconds=2)
"""How long the server may take to confirm that it sends no more calls."""
_UNWIND: Final = timedelta(seconds=5)
"""How long a cancelled handler may take to clean up."""


class RpcServer:
    """Serves one procedure in this process."""

    def __init__(
        self,
        connection: Connection,
        spec: RpcSpec,
        responder: Responder[Any, Any],  # Any: whatever the handler takes and returns
        *,
        reply_timeout: timedelta,
    ) -> None:
        self._connection = connection
        self._spec = spec
        self._responder = responder
        self._reply_timeout = reply_timeout
        self._slots = asyncio.Semaphore(_RUNNING_MAX)
        self._serving: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Begin to receive calls, which replicas share.

        Raises:
            PermissionDenied: the account may not subscribe to the subject.
            RequestTimeout: the server does not confirm the subscription.
        """
        subject = self._spec.subject
        self._subscription = self._connection.subscribe(subject, self._receive, queue=subject)
        await self._connection.flush()

    async def stop(self, grace: GracePeriod) -> None:
        """Receive no new calls, let those received finish within the grace period, then cancel them."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await asyncio.wait((subscription.drain(),), timeout=_WITHDRAWAL.total_seconds())
        await grace.wait(self._serving)
        for task in self._serving:
            task.cancel()
        await grace.settle(self._serving, _UNWIND)
        if self._serving:
            _log.error(
                'rpc "%s": %d handlers did not end within %s after they were cancelled',
                self._spec.name,
                len(self._serving),
                _UNWIND,
                extra=log_fields(LogEvent.HANDLER_STUCK, rpc=self._spec.name),
            )

    def _receive(self, message: Message) -> None:
        if not is_reply_subject(message.reply):
            _log.warning(
                'rpc "%s": ignored a call that wants its reply on "%s"',
                self._spec.name,
                message.reply,
                extra=log_fields(LogEvent.CALL_REFUSED, rpc=self._spec.name, subject=message.reply),
            )
            return
        call = read_call(message, at=now())
        if len(self._serving) >= _RUNNING_MAX + _WAITING_MAX:
            self._reply_now(call, self._responder.errors.refuse(call, "too many calls are waiting"))
            return
        due = None
        if call.timeout is not None:
            due = asyncio.get_running_loop().time() + call.timeout.total_seconds()
        task = asyncio.create_task(self._serve(call, due), name=f"rpc {self._spec.name} {call.request_id}")
        self._serving.add(task)
        task.add_done_callback(partial(self._on_served, call))

    async def _serve(self, call: IncomingCall, due: float | None) -> None:
        try:
            async with asyncio.timeout_at(due):
                async with self._slots:
                    reply = await self._responder.answer(call)
                await self._reply(call, reply)
        except TimeoutError:
            _log.warning(
                'rpc "%s": the handler of request %s was cancelled: its caller waited only %s',
                self._spec.name,
                call.request_id,
                call.timeout,
                extra=self._log_fields(LogEvent.CALL_TIMED_OUT, call),
            )

    async def _reply(self, call: IncomingCall, reply: Reply) -> None:
        """Send a reply. During a short outage wait for the connection: the caller waits for its own too."""
        try:
            async with asyncio.timeout(self._reply_timeout.total_seconds()):
                await self._connection.wait_writable()
                while not self._is_sent(call, reply):
                    await self._connection.wait_connected()
        except (TimeoutError, NotConnected):
            self._log_lost_reply(call)

    def _reply_now(self, call: IncomingCall, reply: Reply) -> None:
        if not self._is_sent(call, reply):
            self._log_lost_reply(call)

    def _is_sent(self, call: IncomingCall, reply: Reply) -> bool:
        """Send a reply, or an error when it is too large, and return whether there was a connection for it."""
        try:
            self._send(call, reply)
        except PayloadTooLarge as error:
            self._send(call, self._responder.errors.refuse(call, str(error), level=logging.ERROR))
        except NotConnected:
            return False
        return True

    def _send(self, call: IncomingCall, reply: Reply) -> None:
        self._connection.send(call.reply_subject, reply.data, headers=reply.headers)

    def _log_lost_reply(self, call: IncomingCall) -> None:
        _log.warning(
            'rpc "%s": the reply to request %s is lost: not connected',
            self._spec.name,
            call.request_id,
            extra=self._log_fields(LogEvent.REPLY_LOST, call),
        )

    def _log_fields(self, event: LogEvent, call: IncomingCall) -> dict[str, object]:
        return log_fields(event, rpc=self._spec.name, request_id=call.request_id)

    def _on_served(self, call: IncomingCall, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if task.cancelled():
            reason = "the service stopped before the handler ended"
            self._reply_now(call, self._responder.errors.refuse(call, reason))
        elif (error := task.exception()) is not None:
            _log.error(
                'rpc "%s": internal error while serving request %s',
                self._spec.name,
                call.request_id,
                exc_info=error,
                extra=self._log_fields(LogEvent.INTERNAL_ERROR, call),
            )
