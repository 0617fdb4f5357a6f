"""Notices that the caller who receives a stream of frames is gone.

Each frame has a reply subject, so that the server answers with "no responders" (503) when no process receives the frame
(nats-facts.md, section 5). A subscriber that reconnects is away for a moment too: only a second 503, at least a second
later, means that it is gone. While there is nothing to send, the service asks: with an `alive` frame where the caller
understands it, else with a message that the server traces and does not deliver, which servers have since 2.11.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Final

from trellis_nats._calls.replies import Reply
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.permission_errors import PermissionViolation
from trellis_nats._nats.wire.message import NO_RESPONDERS, Message
from trellis_nats.codec import decode_json
from trellis_nats.errors import NotConnected

__all__ = ["ALIVE_EVERY", "SILENT_AFTER", "Presence", "PresenceChecks"]

ALIVE_EVERY: Final = timedelta(seconds=20)
"""The longest time without a frame, for callers that want signals. With the second that a lost subscriber is given to
come back, a service notices within 22 s that it is gone."""
SILENT_AFTER: Final = 3 * ALIVE_EVERY
"""How long a caller waits for a frame before it gives the service up: two signals may be lost."""

_AGAIN_AFTER: Final = 1.0
"""Seconds between the first 503 and the one that counts: a client reconnects within 50 to 250 ms."""
_FORGET_AFTER: Final = 60.0
"""Seconds after which a first 503 no longer counts."""
_TRACED_FROM: Final = (2, 11, 0)
"""Older servers would deliver the question as an event."""


class Presence:
    """Whether one subscriber is still there."""

    def __init__(
        self,
        checks: PresenceChecks,
        number: int,
        reply_subject: str,
        *,
        alive: Reply | None,
        on_gone: Callable[[], None],
    ) -> None:
        self.inbox = checks.inbox_of(number)
        """The reply subject of each frame."""
        self._checks = checks
        self._number = number
        self._reply_subject = reply_subject
        self._alive = alive
        self._on_gone = on_gone
        self._loop = checks.connection.loop
        self._last_frame = self._loop.time()
        self._first_absence: float | None = None
        self._timer = self._loop.call_later(checks.alive_every, self._check_idle)

    def on_frame(self) -> None:
        """Record that a frame was sent."""
        self._last_frame = self._loop.time()

    def on_absent(self) -> None:
        """Record that no process receives the frames."""
        now = self._loop.time()
        since = None if self._first_absence is None else now - self._first_absence
        if since is None or since > _FORGET_AFTER:
            self._first_absence = now
            self._restart_timer(_AGAIN_AFTER)
        elif since >= _AGAIN_AFTER:
            self.stop()
            self._on_gone()

    def stop(self) -> None:
        """Stop asking."""
        self._timer.cancel()
        self._checks.forget(self._number)

    def _check_idle(self) -> None:
        if self._first_absence is not None and self._loop.time() - self._first_absence < _FORGET_AFTER:
            self._ask()
            self._restart_timer(self._checks.alive_every)
            return
        idle = self._loop.time() - self._last_frame
        if idle >= self._checks.alive_every:
            self._ask()
            idle = 0.0
        self._restart_timer(self._checks.alive_every - idle)

    def _restart_timer(self, seconds: float) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._check_idle)

    def _ask(self) -> None:
        if self._alive is not None:
            self._checks.send(self._reply_subject, self._alive, reply=self.inbox)
        else:
            self._checks.trace(self._reply_subject, self._number)


class PresenceChecks:
    """The answers about all subscribers of one surface in this process."""

    def __init__(
        self,
        connection: Connection,
        *,
        trace_subject: Callable[[str], str] | None = None,
        alive_every: timedelta | None = None,
    ) -> None:
        """Begin.

        Args:
            connection: where the subscribers are.
            trace_subject: returns where a server reports about a subscriber. None: all subscribers know `alive`.
            alive_every: the longest time without a frame; by default `ALIVE_EVERY`.
        """
        self.connection = connection
        self.alive_every = (alive_every or ALIVE_EVERY).total_seconds()
        self._inbox = connection.new_inbox()
        self._trace_subject = trace_subject
        self._numbers = count()
        self._presences: dict[str, Presence] = {}
        self._subscriptions = [connection.subscribe(f"{self._inbox}.*", self._on_answer)]
        if trace_subject is not None:
            self._subscriptions.append(connection.subscribe(trace_subject("*"), self._on_trace))
        self._remove_handler = connection.on_permission_error(self._on_violation)

    def watch(self, reply_subject: str, *, alive: Reply | None, on_gone: Callable[[], None]) -> Presence:
        """Begin to watch a subscriber; `on_gone` is called once, when it is gone. `alive` is the frame to ask it with."""
        number = next(self._numbers)
        presence = Presence(self, number, reply_subject, alive=alive, on_gone=on_gone)
        self._presences[str(number)] = presence
        return presence

    def forget(self, number: int) -> None:
        """Stop watching a subscriber."""
        self._presences.pop(str(number), None)

    async def stop(self) -> None:
        """Stop watching all subscribers."""
        for presence in list(self._presences.values()):
            presence.stop()
        self._remove_handler()
        for subscription in self._subscriptions:
            await subscription.unsubscribe()

    def inbox_of(self, number: int) -> str:
        """Return the subject of answers about a subscriber."""
        return f"{self._inbox}.{number}"

    def send(self, subject: str, frame: Reply, *, reply: str = "") -> None:
        """Send a frame, if there is a connection."""
        with suppress(NotConnected):
            self.connection.send(subject, frame.data, headers=frame.headers, reply=reply)

    def trace(self, subject: str, number: int) -> None:
        """Ask the server to whom it would deliver a message, where it can tell."""
        if self._trace_subject is not None and self.connection.server_version >= _TRACED_FROM:
            destination = self._trace_subject(str(number))
            self.send(subject, Reply(b"", {"Nats-Trace-Dest": destination, "Nats-Trace-Only": "true"}))

    def _on_answer(self, message: Message) -> None:
        if message.status == NO_RESPONDERS:
            self._on_absent(message)

    def _on_trace(self, message: Message) -> None:
        if not _has_receiver(message.data):
            self._on_absent(message)

    def _on_absent(self, message: Message) -> None:
        presence = self._presences.get(message.subject.rpartition(".")[2])
        if presence is not None:
            presence.on_absent()

    def _on_violation(self, violation: PermissionViolation) -> bool:
        """Stop tracing in an account that may not: an event that has no receiver still shows that a subscriber is gone."""
        if self._trace_subject is None or not violation.subject.startswith(self._trace_subject("").lower()):
            return False
        self._trace_subject = None
        return True


def _has_receiver(trace: bytes) -> bool:
    """Return whether a trace shows a receiver, or cannot be read."""
    try:
        match decode_json(trace):
            case {"events": list(events)}:
                return any(isinstance(event, dict) and event.get("type") == "eg" for event in events)
            case _:
                return True
    except ValueError:
        return True
