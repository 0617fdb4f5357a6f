"""Receives the calls of one subject, and keeps the tasks that serve them: the base of what RPCs, feeds and operations share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from trellis_nats._calls.headers import is_reply_subject
from trellis_nats._calls.incoming import IncomingCall, read_call
from trellis_nats._calls.replies import ErrorReplies, Reply
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.subscriptions import Subscription
from trellis_nats._nats.wire.message import Message, memory_of
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats._support.log_events import LogEvent
from trellis_nats._support.plural import plural
from trellis_nats._support.printable import printable
from trellis_nats.clock import describe_duration, now
from trellis_nats.errors import NotConnected, PayloadTooLarge

__all__ = ["CallReceiver"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_WITHDRAWAL: Final = timedelta(seconds=2)
"""How long the server may take to confirm that it sends no more calls."""
_UNWIND: Final = timedelta(seconds=5)
"""How long a cancelled handler may take to clean up."""


class CallReceiver:
    """The calls on one subject in this process."""

    def __init__(
        self,
        connection: Connection,
        subject: str,
        errors: ErrorReplies,
        accept: Callable[[IncomingCall], None],
        *,
        on_cancelled: Callable[[IncomingCall], None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            connection: receives the calls, and sends the replies.
            subject: where the calls arrive.
            errors: writes the error replies.
            accept: called for each call, in order; it must not block.
            on_cancelled: called for each call whose task ended because it was cancelled.
        """
        self._connection = connection
        self._subject = subject
        self._errors = errors
        self._accept = accept
        self._on_cancelled = on_cancelled
        self._task_prefix = f"{errors.surface} {errors.name} "
        self._subscription: Subscription | None = None
        self.tasks: set[asyncio.Task[Any]] = set()  # Any: the result is not used
        """What serves the calls that have arrived."""
        self.memory_bytes = 0
        """About how much memory these calls take."""

    async def start(self) -> None:
        """Begin to receive calls, which replicas share.

        Raises:
            PermissionDenied: the account may not subscribe to the subject.
            RequestTimeout: the server does not confirm the subscription.
        """
        self._subscription = self._connection.subscribe(self._subject, self._receive, queue=self._subject)
        await self._connection.flush()

    def serve(self, call: IncomingCall, serving: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run what serves a call in a task of its own, and keep the task."""
        task = self._connection.loop.create_task(serving, name=self._task_prefix + call.request_id)
        self.keep(call, task)
        return task

    def keep(self, call: IncomingCall, task: asyncio.Task[Any]) -> None:
        """Keep the task that serves a call until it has ended. An exception of the task is logged."""
        size_bytes = memory_of(call.data, call.headers)
        self.tasks.add(task)
        self.memory_bytes += size_bytes
        task.add_done_callback(partial(self._on_ended, call, size_bytes))

    async def withdraw(self) -> None:
        """Receive no new calls; those under way to this process still arrive. Safe to call twice."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await asyncio.wait((subscription.drain(),), timeout=_WITHDRAWAL.total_seconds())

    async def settle(self, grace: GracePeriod) -> None:
        """Return when all tasks, which were cancelled, have ended; log those that do not end in time."""
        await grace.settle(self.tasks, _UNWIND)
        if self.tasks:
            _log.error(
                '%s "%s": %s did not end within %s after their cancellation',
                self._errors.surface,
                self._errors.name,
                plural(len(self.tasks), "handler"),
                describe_duration(_UNWIND),
                extra=self._errors.log_fields(LogEvent.HANDLER_STUCK),
            )

    def is_sent(self, call: IncomingCall, reply: Reply) -> bool:
        """Send a reply, or an error when it is too large, and return whether there was a connection for it."""
        try:
            self._send(call, reply)
        except PayloadTooLarge as error:
            self._send(call, self._errors.refuse(call, str(error), level=logging.ERROR))
        except NotConnected:
            return False
        return True

    def reply_now(self, call: IncomingCall, reply: Reply) -> None:
        """Send a reply, or log that it is lost."""
        if not self.is_sent(call, reply):
            self.log_lost_reply(call)

    def log_lost_reply(self, call: IncomingCall) -> None:
        """Log that the caller does not get its reply."""
        self._errors.log_throttle.write(
            logging.WARNING,
            LogEvent.REPLY_LOST,
            '%s "%s": the reply to request %s is lost: not connected',
            self._errors.surface,
            self._errors.name,
            call.request_id,
            extra=self._errors.log_fields(LogEvent.REPLY_LOST, call),
        )

    def _send(self, call: IncomingCall, reply: Reply) -> None:
        self._connection.send(
            call.reply_subject, reply.data, headers=self._errors.version.mark(reply.headers)
        )

    def _receive(self, message: Message) -> None:
        if not is_reply_subject(message.reply):
            self._errors.log_throttle.write(
                logging.WARNING,
                "reply subject",
                '%s "%s": ignored a call that wants its reply on "%s"',
                self._errors.surface,
                self._errors.name,
                printable(message.reply),
                extra={**self._errors.log_fields(LogEvent.CALL_REFUSED), "subject": message.reply},
            )
            return
        self._accept(read_call(message, at=now()))

    def _on_ended(self, call: IncomingCall, size_bytes: int, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        self.memory_bytes -= size_bytes
        if task.cancelled():
            if self._on_cancelled is not None:
                self._on_cancelled(call)
        elif (error := task.exception()) is not None:
            _log.error(
                '%s "%s": internal error while serving request %s',
                self._errors.surface,
                self._errors.name,
                call.request_id,
                exc_info=error,
                extra=self._errors.log_fields(LogEvent.INTERNAL_ERROR, call),
            )
