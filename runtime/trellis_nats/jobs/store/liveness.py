"""Is the worker of this job still alive? Asked before a job is taken whose history says that it is active.

A server that was killed may have forgotten that it delivered a message, and a work stream that was made anew delivers
everything again. The message alone therefore never shows that a worker is dead: its process is asked. It answers from
the heartbeat thread, so that a handler which blocks the event loop is still defended.
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
"""A live process answers in a millisecond, on a crowded machine later; a dead one has no subscription, which the server
says at once; a frozen one is given this time."""
_BACK_WITHIN: Final = 3.0
"""Seconds after a reconnect in which others come back too: they try every second at least (`max_reconnect_wait`)."""
_ASK_AGAIN: Final = 0.2


class Answer(Enum):
    """What a process says to whether it works on something."""

    HELD = auto()
    FREE = auto()
    """The process lives and does not work on it."""
    SILENT = auto()
    """Nobody answers: it is dead, or cut off, or of another runtime."""


class Liveness:
    """What this process works on, and the question to another one.

    Claimed is a job id, from before its try begins until its end is stored, or the token of a slot, from before it is
    taken until it was given back.
    """

    def __init__(self, connection: Connection, *, namespace: str, instance_id: str) -> None:
        self.instance_id = instance_id
        self._connection = connection
        self._namespace = namespace
        self._held: set[str] = set()
        self._reconnected_at = -math.inf
        connection.on_reconnect(self._on_reconnect)

    def answer_from(self, thread: ProgressThread) -> None:
        """Let the heartbeat thread answer for this process."""
        thread.answer(self._subject(self.instance_id), self._answer)

    def hold(self, claimed: str) -> None:
        """Say from now on that this process works on it."""
        self._held.add(claimed)

    def release(self, claimed: str) -> None:
        """Say so no longer."""
        self._held.discard(claimed)

    async def is_held(self, job_id: str, instance_id: str | None) -> bool:
        """Ask the process that started a job whether it still works on it.

        After an outage it may not be connected again yet: while this process has just come back itself, silence is no
        answer, and the question is asked again.

        Raises:
            TransportError: NATS did not take the question.
        """
        answer = await self.ask(job_id, instance_id)
        while answer is Answer.SILENT and monotonic() - self._reconnected_at < _BACK_WITHIN:
            await asyncio.sleep(_ASK_AGAIN)
            answer = await self.ask(job_id, instance_id)
        return answer is Answer.HELD

    async def ask(
        self, claimed: str, instance_id: str | None, *, within: timedelta = _ANSWER_WITHIN
    ) -> Answer:
        """Ask a process whether it works on something.

        Raises:
            TransportError: NATS did not take the question.
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
