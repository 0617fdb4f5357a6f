"""Takes the calls of one procedure, a bounded number at a time, and sends the replies."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from functools import partial
from typing import Final, Protocol

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.subscriptions import Subscription
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats.clock import now
from trellis_nats.errors import NotConnected, PayloadTooLarge
from trellis_nats.rpc.headers import is_reply_subject
from trellis_nats.rpc.incoming import IncomingCall, read_call
from trellis_nats.rpc.responder import Reply
from trellis_nats.specs import RpcSpec

__all__ = ["Answer", "RpcServer"]

_log = logging.getLogger(__name__)

_RUNNING_MAX: Final = 100
_WAITING_MAX: Final = 1000
_WITHDRAWAL: Final = timedelta(seconds=2)
"""How long the server may take to confirm that no call is on its way any more."""
_UNWIND: Final = timedelta(seconds=5)
"""How long a cancelled handler may take to clean up."""


class Answer(Protocol):
    """Turns calls into replies."""

    async def answer(self, call: IncomingCall) -> Reply:
        """Return the reply of the handler."""
        ...

    def refuse(self, call: IncomingCall, reason: str) -> Reply:
        """Return the reply to a call that the handler did not answer, or whose answer cannot be sent."""
        ...


class RpcServer:
    """Serves one procedure in this process."""

    def __init__(
        self, connection: Connection, spec: RpcSpec, responder: Answer, *, reply_timeout: timedelta
    ) -> None:
        self._connection = connection
        self._spec = spec
        self._responder = responder
        self._reply_timeout = reply_timeout
        self._slots = asyncio.Semaphore(_RUNNING_MAX)
        self._serving: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Begin to take calls, together with the other replicas.

        Raises:
            PermissionDenied: the account may not subscribe to the subject.
            RequestTimeout: the server does not confirm the subscription.
        """
        subject = self._spec.subject
        self._subscription = self._connection.subscribe(subject, self._take, queue=subject)
        await self._connection.flush()

    async def stop(self, grace: GracePeriod) -> None:
        """Take no new calls, let those that were taken end within the grace, then cancel them."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await asyncio.wait((subscription.drain(),), timeout=_WITHDRAWAL.total_seconds())
        await grace.wait(self._serving)
        for task in self._serving:
            task.cancel()
        await grace.settle(self._serving, _UNWIND)
        if self._serving:
            _log.error(
                'rpc "%s": %d handlers did not end after they were cancelled',
                self._spec.name,
                len(self._serving),
            )

    def _take(self, message: Message) -> None:
        if not is_reply_subject(message.reply):
            _log.warning(
                'rpc "%s": ignored a call that asks for its reply on "%s"', self._spec.name, message.reply
            )
            return
        call = read_call(message, at=now())
        if len(self._serving) >= _RUNNING_MAX + _WAITING_MAX:
            self._reply_now(call, self._responder.refuse(call, "too many calls wait"))
            return
        due = None
        if call.timeout is not None:
            due = asyncio.get_running_loop().time() + call.timeout.total_seconds()
        task = asyncio.create_task(
            self._serve(call, due), name=f"rpc {self._spec.name} {call.context.request_id}"
        )
        self._serving.add(task)
        task.add_done_callback(partial(self._served, call))

    async def _serve(self, call: IncomingCall, due: float | None) -> None:
        try:
            async with asyncio.timeout_at(due):
                async with self._slots:
                    reply = await self._responder.answer(call)
                await self._reply(call, reply)
        except TimeoutError:
            _log.warning(
                'rpc "%s", request %s: cancelled, because its caller waited no longer than %s',
                self._spec.name,
                call.context.request_id,
                call.timeout,
            )

    async def _reply(self, call: IncomingCall, reply: Reply) -> None:
        """Send a reply; while the connection is gone for a moment, so is the caller's, and it still waits."""
        try:
            async with asyncio.timeout(self._reply_timeout.total_seconds()):
                await self._connection.wait_writable()
                while not self._is_sent(call, reply):
                    await self._connection.wait_connected()
        except (TimeoutError, NotConnected):
            self._lost(call)

    def _reply_now(self, call: IncomingCall, reply: Reply) -> None:
        if not self._is_sent(call, reply):
            self._lost(call)

    def _is_sent(self, call: IncomingCall, reply: Reply) -> bool:
        """Send a reply now, or one that says why not; False while there is no connection."""
        try:
            self._send(call, reply)
        except PayloadTooLarge as error:
            self._send(call, self._responder.refuse(call, str(error)))
        except NotConnected:
            return False
        return True

    def _send(self, call: IncomingCall, reply: Reply) -> None:
        self._connection.send(call.reply_subject, reply.data, headers=reply.headers)

    def _lost(self, call: IncomingCall) -> None:
        _log.warning('rpc "%s", request %s: the reply is lost', self._spec.name, call.context.request_id)

    def _served(self, call: IncomingCall, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if task.cancelled():
            reason = "the service stopped before the handler ended"
            self._reply_now(call, self._responder.refuse(call, reason))
        elif (error := task.exception()) is not None:
            _log.error('rpc "%s": a call ended in an error of ours', self._spec.name, exc_info=error)
