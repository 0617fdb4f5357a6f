"""Asks whether the worker of an active job still lives, before the job runs again.

A server that was killed may have forgotten that it delivered a message, and a recreated work stream delivers every
message again. So a redelivery alone does not prove that a worker is dead: its process is asked. It answers from the
heartbeat thread, so that a handler that blocks the event loop keeps its job.
"""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from enum import Enum, auto
from time import monotonic
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats._nats.request import request
from trellis_nats.errors import NoResponders, RequestTimeout
from trellis_nats.ids import is_token
from trellis_nats.jobs.model.subjects import liveness_subject

__all__ = ["Answer", "Liveness"]

_HELD: Final = b"held"
_FREE: Final = b"free"
_ANSWER_WITHIN: Final = timedelta(seconds=2)
"""A live process answers within a millisecond, on a busy machine later. A dead one has no subscription, which the server
reports at once. A frozen one gets this time."""
_BACK_WITHIN: Final = 3.0
"""Seconds after a reconnect in which other processes reconnect too: they retry at least every second
(`max_reconnect_wait`)."""
_ASK_AGAIN: Final = 0.2


class Answer(Enum):
    """What a process answers when it is asked whether it works on a job or holds a slot."""

    HELD = auto()
    FREE = auto()
    """The process lives and does not."""
    SILENT = auto()
    """No answer came: the process is dead, or disconnected, or of another runtime."""


class Liveness:
    """What this process works on, and how to ask other processes.

    A process holds a job id from before the attempt's `started` is written until the outcome is stored, and the token
    of a slot from before the slot is acquired until it is released.
    """

    def __init__(self, connection: Connection, *, namespace: str, instance_id: str) -> None:
        self.instance_id = instance_id
        self._connection = connection
        self._namespace = namespace
        self._held: set[str] = set()
        self._reconnected_at = -math.inf
        connection.on_reconnect(self._on_reconnect)

    def answer_from(self, thread: ProgressThread) -> None:
        """Answer the questions of other processes from the heartbeat thread."""
        thread.answer(self._subject(self.instance_id), self._answer)

    def hold(self, claimed: str) -> None:
        """Answer from now on that this process holds it."""
        self._held.add(claimed)

    def release(self, claimed: str) -> None:
        """Answer from now on that this process does not hold it."""
        self._held.discard(claimed)

    async def is_held(self, job_id: str, instance_id: str | None) -> bool:
        """Ask the process that started a job whether it still works on it.

        After an outage that process may not be connected again yet. So for a moment after this process has
        reconnected, silence proves nothing, and the question is repeated.

        Raises:
            TransportError: the question could not be sent.
        """
        answer = await self.ask(job_id, instance_id)
        while answer is Answer.SILENT and monotonic() - self._reconnected_at < _BACK_WITHIN:
            await asyncio.sleep(_ASK_AGAIN)
            answer = await self.ask(job_id, instance_id)
        return answer is Answer.HELD

    async def ask(
        self, claimed: str, instance_id: str | None, *, within: timedelta = _ANSWER_WITHIN
    ) -> Answer:
        """Ask a process whether it holds a job or a slot.

        Raises:
            TransportError: the question could not be sent.
        """
        if instance_id is None or not is_token(instance_id):
            return Answer.SILENT
        try:
            answer = await request(
                self._connection, self._subject(instance_id), claimed.encode(), timeout=within
            )
        except (NoResponders, RequestTimeout):
            return Answer.SILENT
        return Answer.HELD if answer.data == _HELD else Answer.FREE

    def _on_reconnect(self) -> None:
        self._reconnected_at = monotonic()

    def _subject(self, instance_id: str) -> str:
        return liveness_subject(self._namespace, instance_id)

    def _answer(self, job_id: bytes) -> bytes:
        return _HELD if job_id.decode(errors="replace") in self._held else _FREE
