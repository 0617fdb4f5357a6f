"""Receives the calls of one procedure, runs a bounded number at a time, and sends the replies."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any, Final

from trellis_nats._calls.incoming import IncomingCall
from trellis_nats._calls.receiver import CallReceiver
from trellis_nats._calls.replies import Reply
from trellis_nats._calls.spans import trace_call
from trellis_nats._nats.connection import Connection
from trellis_nats._support.deadlines import Deadlines
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats._support.log_events import LogEvent
from trellis_nats._support.turns import Turns
from trellis_nats._tracing.descriptions import describe_serving
from trellis_nats.errors import NotConnected
from trellis_nats.rpc.responder import Responder
from trellis_nats.specs import RpcSpec

__all__ = ["RpcServer"]

_RUNNING_MAX: Final = 100
_WAITING_MAX: Final = 1000
_WAITING_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of all calls of the procedure in this process; calls that find a handler free are not refused."""


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
        self._description = describe_serving("rpc", spec.name)
        self._turns = Turns(_RUNNING_MAX)
        self._deadlines = Deadlines(connection.loop)
        self._calls = CallReceiver(
            connection, spec.subject, responder.errors, self._accept, on_cancelled=self._on_cancelled
        )

    async def start(self) -> None:
        """Begin to receive calls, which replicas share. Raises as `CallReceiver.start`."""
        await self._calls.start()

    async def stop(self, grace: GracePeriod) -> None:
        """Receive no new calls, let those received finish within the grace period, then cancel them."""
        await self._calls.withdraw()
        await grace.wait(self._calls.tasks)
        for task in self._calls.tasks:
            task.cancel()
        await self._calls.settle(grace)

    def _accept(self, call: IncomingCall) -> None:
        waiting = len(self._calls.tasks) - _RUNNING_MAX
        if waiting >= _WAITING_MAX or (waiting >= 0 and self._calls.memory_bytes > _WAITING_BYTES_MAX):
            self._calls.reply_now(call, self._responder.errors.refuse(call, "too many calls are waiting"))
            return
        due = None
        if call.timeout is not None:
            due = self._connection.loop.time() + call.timeout.total_seconds()
        self._calls.serve(call, self._serve(call, due))

    async def _serve(self, call: IncomingCall, due: float | None) -> None:
        call = trace_call(call, self._description)
        with call.span:
            try:
                with self._deadlines.limit(due):
                    if not self._turns.take():
                        await self._turns.wait()
                    try:
                        reply = await self._responder.answer(call)
                    finally:
                        self._turns.end()
                    if not (self._connection.is_ready and self._calls.is_sent(call, reply)):
                        await self._reply_later(call, reply)
            except TimeoutError:
                self._log_timeout(call)

    def _log_timeout(self, call: IncomingCall) -> None:
        call.span.fail("timeout")
        self._responder.count("timeout")
        self._responder.errors.log_throttle.write(
            logging.WARNING,
            LogEvent.CALL_TIMED_OUT,
            'rpc "%s": the handler of request %s was cancelled: its caller waited only %g s',
            self._spec.name,
            call.request_id,
            call.timeout.total_seconds() if call.timeout else 0.0,
            extra=self._responder.errors.log_fields(LogEvent.CALL_TIMED_OUT, call),
        )

    async def _reply_later(self, call: IncomingCall, reply: Reply) -> None:
        """Send a reply during a short outage: wait for the connection, because the caller waits for its own too."""
        try:
            async with asyncio.timeout(self._reply_timeout.total_seconds()):
                await self._connection.wait_writable()
                while not self._calls.is_sent(call, reply):
                    await self._connection.wait_connected()
        except (TimeoutError, NotConnected):
            self._calls.log_lost_reply(call)

    def _on_cancelled(self, call: IncomingCall) -> None:
        reason = "the service stopped before the handler ended"
        self._calls.reply_now(call, self._responder.errors.refuse(call, reason))
