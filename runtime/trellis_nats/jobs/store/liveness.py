"""Asks whether the worker of an active job still lives, before the job runs again.

A server that was killed may have forgotten that it delivered a message, and a recreated work stream delivers every
message again. So a redelivery alone does not prove that a worker is dead: its process is asked. It answers from the
heartbeat thread, so that a handler that blocks the event loop keeps its job.

The question goes to a subject of our own, where the server reports at once that no process listens. Control planes do not
permit that subject: there the question goes to a subject of the queue's events, as a message that the stream refuses.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable
from datetime import timedelta
from enum import Enum, auto
from time import monotonic
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import parse_object
from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats._nats.jetstream.unstored_request import request_unstored
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats.errors import NoResponders, PermissionDenied, RequestTimeout
from trellis_nats.ids import is_token
from trellis_nats.jobs.model.subjects import JobSubjects, liveness_subject

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
_CLAIMED: Final = "claimed"
"""The member of a question on a subject of events: other runtimes read JSON there, and ignore what is not an event."""


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

    def __init__(
        self, connection: Connection, *, namespace: str, instance_id: str, peers_may_differ: bool
    ) -> None:
        """Prepare.

        Args:
            connection: where the questions are sent.
            namespace: that of the binding.
            instance_id: the id of this process.
            peers_may_differ: whether the accounts of other processes may have other permissions than this one's. Then
                silence on one subject proves nothing, and the other one is tried too.
        """
        self.instance_id = instance_id
        self._connection = connection
        self._namespace = namespace
        self._held: set[str] = set()
        self._peers_may_differ = peers_may_differ
        self._is_denied = False
        """Whether the account may not ask on the subject of our own."""
        self._given_up: set[JobSubjects] = set()
        self._connected_at = monotonic()
        self._reconnected_at = -math.inf
        connection.on_reconnect(self._on_reconnect)

    @property
    def connected_for(self) -> timedelta:
        """How long this process has been connected without an interruption."""
        return timedelta(seconds=monotonic() - self._connected_at)

    def answer_from(
        self, thread: ProgressThread, *, on_own_subject: bool, on_events_of: Iterable[JobSubjects]
    ) -> None:
        """Answer the questions of other processes from the heartbeat thread.

        Args:
            thread: the heartbeat thread, before it starts.
            on_own_subject: whether the account permits the subject of our own.
            on_events_of: the queues on whose events the account permits questions.
        """
        if on_own_subject:
            thread.answer(self._subject(self.instance_id), self._answer)
        for subjects in on_events_of:
            thread.answer(subjects.question(self.instance_id), self._answer_json)

    def give_up(self, subjects: JobSubjects) -> None:
        """Do not ask about jobs of a queue: its workers could not answer."""
        self._given_up.add(subjects)

    def hold(self, claimed: str) -> None:
        """Answer from now on that this process holds it."""
        self._held.add(claimed)

    def release(self, claimed: str) -> None:
        """Answer from now on that this process does not hold it."""
        self._held.discard(claimed)

    async def is_held(self, job_id: str, instance_id: str | None, subjects: JobSubjects) -> bool:
        """Ask the process that started a job whether it still works on it.

        After an outage that process may not be connected again yet. So for a moment after this process has
        reconnected, silence proves nothing, and the question is repeated.

        Raises:
            PermissionDenied: the account may not ask, or workers may not answer.
            TransportError: the question could not be sent.
        """
        answer = await self.ask(job_id, instance_id, subjects)
        while answer is Answer.SILENT and monotonic() - self._reconnected_at < _BACK_WITHIN:
            await asyncio.sleep(_ASK_AGAIN)
            answer = await self.ask(job_id, instance_id, subjects)
        return answer is Answer.HELD

    async def ask(
        self,
        claimed: str,
        instance_id: str | None,
        subjects: JobSubjects,
        *,
        within: timedelta = _ANSWER_WITHIN,
    ) -> Answer:
        """Ask a process whether it holds a job or a slot of the queue with these subjects.

        Raises:
            PermissionDenied: the account may not ask, or workers may not answer.
            TransportError: the question could not be sent.
        """
        if instance_id is None or not is_token(instance_id):
            return Answer.SILENT
        if subjects in self._given_up:
            raise PermissionDenied("ask workers on", subjects.question())
        answer: Answer | None = None
        if not self._is_denied:
            answer = await self._ask_on_own_subject(claimed, instance_id, within)
        if answer is None or (answer is Answer.SILENT and self._peers_may_differ):
            return await self._ask_on_events(claimed, subjects.question(instance_id), within)
        return answer

    async def _ask_on_own_subject(self, claimed: str, instance_id: str, within: timedelta) -> Answer | None:
        """Return the answer; None when the account may not ask there."""
        subject = self._subject(instance_id)
        try:
            reply = await request(self._connection, subject, claimed.encode(), timeout=within)
        except (NoResponders, RequestTimeout):
            return Answer.SILENT
        except PermissionDenied:
            self._is_denied = True
            return None
        return _read(reply)

    async def _ask_on_events(self, claimed: str, subject: str, within: timedelta) -> Answer:
        question = json.dumps({_CLAIMED: claimed}).encode()
        try:
            reply = await request_unstored(self._connection, subject, question, timeout=within)
        except (NoResponders, RequestTimeout):
            return Answer.SILENT
        return _read(reply)

    def _on_reconnect(self) -> None:
        self._reconnected_at = self._connected_at = monotonic()
        self._is_denied = False  # permissions may have changed

    def _subject(self, instance_id: str) -> str:
        return liveness_subject(self._namespace, instance_id)

    def _answer(self, claimed: bytes) -> bytes:
        return _HELD if claimed.decode(errors="replace") in self._held else _FREE

    def _answer_json(self, question: bytes) -> bytes:
        claimed = parse_object(question).get(_CLAIMED)
        return _HELD if isinstance(claimed, str) and claimed in self._held else _FREE


def _read(reply: Message) -> Answer:
    return Answer.HELD if reply.data == _HELD else Answer.FREE
