"""One round of pulling: an inbox, the requests whose messages go to it, and the check of their heartbeats."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.delivery import is_delivery
from trellis_nats._nats.permission_errors import PermissionViolation
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.loop_timer import LoopTimer
from trellis_nats.clock import to_nanoseconds
from trellis_nats.errors import NotConnected

__all__ = ["PullRequests"]

_LATE: Final = 0.25
"""Seconds; see `LoopTimer`."""
_COARSE: Final = 4
"""A new request is sent when a quarter of the capacity is free. No capacity waits for it, because the older requests
still deliver, and a consumer's queue of requests (512 for all workers) stays short."""


class PullRequests:
    """The requests of one round, until they are lost. `credit` is how many messages they may still deliver."""

    def __init__(
        self,
        connection: Connection,
        *,
        subject: str,
        expires: timedelta,
        heartbeat: timedelta,
        on_message: Callable[[PullRequests, Message], None],
        on_silence: Callable[[PullRequests], None],
        on_permission_error: Callable[[str], None],
    ) -> None:
        self.credit = 0
        self._connection = connection
        self._subject = subject
        self._request = {"expires": to_nanoseconds(expires), "idle_heartbeat": to_nanoseconds(heartbeat)}
        self._silence_max = 2 * heartbeat.total_seconds()
        self._on_message = on_message
        self._on_silence = on_silence
        self._on_permission_error = on_permission_error
        self._inbox = connection.new_inbox()
        self._subscription = connection.subscribe(self._inbox, self._on_arrival)
        self._remove_handler = connection.on_permission_error(self._on_violation)
        self._last_arrival = 0.0
        self._loop = asyncio.get_running_loop()  # looking it up takes a system call before Python 3.12
        self._timer = LoopTimer(self._check_silence, late=_LATE, loop=self._loop)
        self._ended = False

    def top_up(self, free: int) -> None:
        """Request what `free` exceeds the credit by, if that is worth a request."""
        missing = free - self.credit
        if self._ended or missing < max(1, free // _COARSE):
            return
        request = json.dumps({"batch": missing, **self._request}).encode()
        try:
            self._connection.send(self._subject, request, reply=self._inbox)
        except NotConnected:
            return  # the reconnect starts a new round
        if self.credit == 0:
            self._last_arrival = self._loop.time()
        self.credit += missing
        if math.isinf(self._timer.when):
            self._timer.start(self._loop.time() + self._silence_max)

    def end(self) -> asyncio.Future[bool]:
        """Cancel the requests. The future is done when none of them can deliver any longer."""
        self._ended = True
        self.credit = 0
        self._remove_handler()
        self._timer.cancel()
        return self._subscription.drain()

    def _on_arrival(self, message: Message) -> None:
        self._last_arrival = self._loop.time()
        if self.credit > 0 and is_delivery(message):
            self.credit -= 1
        self._on_message(self, message)

    def _on_violation(self, violation: PermissionViolation) -> bool:
        is_inbox = violation == PermissionViolation("subscribe to", self._inbox.lower())
        if not is_inbox and violation != PermissionViolation("publish to", self._subject.lower()):
            return False
        about = "subscribe to its inbox" if is_inbox else f'publish to "{self._subject}"'
        self._on_permission_error(f"the account may not {about}")
        return True

    def _check_silence(self) -> None:
        if self.credit == 0 or self._ended:
            return
        now, due = self._loop.time(), self._last_arrival + self._silence_max
        if due > now:
            self._timer.start(max(due, now + _LATE))
        else:
            self._on_silence(self)
