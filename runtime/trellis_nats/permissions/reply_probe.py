"""A request that a process sends to itself, to check that it may answer requests."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.unstored_request import UNSTORED
from trellis_nats._nats.permission_errors import PermissionViolation
from trellis_nats._nats.wire.message import Message
from trellis_nats.errors import NotConnected
from trellis_nats.grants import Grant, Probe

__all__ = ["ReplyProbe"]


class ReplyProbe:
    """One request under way. `allow_responses` is not bound to a subject, so that only an answer shows whether it is set."""

    def __init__(self, connection: Connection, grant: Grant) -> None:
        self._connection = connection
        subject = grant.subject
        self._inbox = connection.new_inbox()
        self._answer_violation = PermissionViolation("publish to", self._inbox.lower())
        self._request_violations = {
            PermissionViolation("publish to", subject.lower()),
            PermissionViolation("subscribe to", subject.lower()),
        }
        self._violations: set[PermissionViolation] = set()

    @classmethod
    @asynccontextmanager
    async def send(cls, connection: Connection, grant: Grant) -> AsyncGenerator[ReplyProbe]:
        """Send the request on a subject that only this process uses, and receive it for an `async with` block."""
        probe, subject = cls(connection, grant), grant.subject
        headers = UNSTORED if grant.probe is Probe.WRONG_STREAM else None
        remove = connection.on_permission_error(probe._take)
        subscription = connection.subscribe(subject, probe._answer)
        try:
            with suppress(NotConnected):
                await connection.publish(subject, b"", headers=headers, reply=probe._inbox)
            yield probe
        finally:
            remove()
            await subscription.unsubscribe()

    async def is_answer_denied(self) -> bool | None:
        """Return whether the server refused the answer; None when it refused the request itself.

        Call it after a flush: then the request has arrived.

        Raises:
            RequestTimeout: the server did not answer.
        """
        await self._connection.flush()
        if self._violations & self._request_violations:
            return None
        return self._answer_violation in self._violations

    def _answer(self, request: Message) -> None:
        if request.reply == self._inbox:
            with suppress(NotConnected):
                self._connection.send(self._inbox, b"")

    def _take(self, violation: PermissionViolation) -> bool:
        is_expected = violation == self._answer_violation or violation in self._request_violations
        if is_expected:
            self._violations.add(violation)
        return is_expected
