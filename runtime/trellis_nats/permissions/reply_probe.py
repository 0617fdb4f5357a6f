"""A question that a process asks itself, to see whether it may answer others."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.permission_errors import PermissionViolation
from trellis_nats._nats.wire.message import Message
from trellis_nats.errors import NotConnected

__all__ = ["ReplyProbe"]


class ReplyProbe:
    """One question under way. The right to answer is not a subject, so that only an answer shows whether it is there."""

    def __init__(self, connection: Connection, subject: str) -> None:
        self._connection = connection
        self._inbox = connection.new_inbox()
        self._answer_denial = PermissionViolation("publish to", self._inbox.lower())
        self._expected = {
            self._answer_denial,
            PermissionViolation("publish to", subject.lower()),
            PermissionViolation("subscribe to", subject.lower()),
        }
        self._heard: set[PermissionViolation] = set()

    @classmethod
    @asynccontextmanager
    async def asked(cls, connection: Connection, subject: str) -> AsyncGenerator[ReplyProbe]:
        """Ask on a subject that nobody else uses, for the length of an `async with` block."""
        question = cls(connection, subject)
        forget = connection.on_permission_error(question._take)
        subscription = connection.subscribe(subject, question._answer)
        try:
            with suppress(NotConnected):
                await connection.publish(subject, b"", reply=question._inbox)
            yield question
        finally:
            forget()
            await subscription.unsubscribe()

    async def is_answer_denied(self) -> bool:
        """Say whether the answer was refused. Call it after a flush: then the question has come back.

        Raises:
            RequestTimeout: the server did not answer.
        """
        await self._connection.flush()
        return self._answer_denial in self._heard

    def _answer(self, question: Message) -> None:
        if question.reply == self._inbox:
            with suppress(NotConnected):
                self._connection.send(self._inbox, b"")

    def _take(self, denial: PermissionViolation) -> bool:
        if denial in self._expected:
            self._heard.add(denial)
        return denial in self._expected
