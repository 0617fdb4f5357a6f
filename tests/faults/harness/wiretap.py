"""A proxy between one worker and the server that understands what passes, and can act at a step of a job's handling.

With it a worker is killed exactly between two steps, without a hook in the runtime, and an answer of the server is
lost after the server has done what it was asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from trellis_nats._nats.jetstream.api import parse_object

from tests.faults.harness.frames import Frame, FrameReader
from tests.support.proxy import Direction, Proxy

__all__ = ["Passage", "Step", "Wiretap", "acked_too_early"]

_ACK: Final = "$JS.ACK."
_READ: Final = "$JS.API.DIRECT.GET.JOBS."
_EVENT_TOKENS: Final = 6
_OUTCOMES: Final = frozenset({"completed", "failed", "retry", "dead", "expired"})
_REPORTS: Final = frozenset({"progress", "logged"})


class Step(StrEnum):
    """What a frame means for a job."""

    CREATED_SENT = "created sent"
    CREATED_STORED = "created stored"
    """The answer that it is stored, on its way to the client; likewise below. A refusal is none."""
    DELIVERED = "delivered"
    STARTED_SENT = "started sent"
    STARTED_STORED = "started stored"
    REPORT_SENT = "report sent"
    """Progress, or a line of the handler."""
    REPORT_STORED = "report stored"
    OUTCOME_SENT = "outcome sent"
    OUTCOME_STORED = "outcome stored"
    OUTCOME_ASKED_FOR = "outcome asked for"
    """A read of the event: so a worker finds out whether a write of its own was stored, or that the job had ended."""
    OUTCOME_READ = "outcome read"
    ACK_SENT = "ack sent"
    ACK_CONFIRMED = "ack confirmed"
    NAK_SENT = "nak sent"
    PROGRESS_SENT = "progress sent"
    """A progress ack, which is the worker's heartbeat for the message."""
    OTHER = "other"


_ANSWERED: Final = {
    Step.CREATED_SENT: Step.CREATED_STORED,
    Step.STARTED_SENT: Step.STARTED_STORED,
    Step.REPORT_SENT: Step.REPORT_STORED,
    Step.OUTCOME_SENT: Step.OUTCOME_STORED,
    Step.OUTCOME_ASKED_FOR: Step.OUTCOME_READ,
    Step.ACK_SENT: Step.ACK_CONFIRMED,
}


@dataclass(frozen=True, slots=True)
class Passage:
    """A step that came by."""

    step: Step
    job: str
    line: int
    """The connection, counted from 1."""
    at: int
    """Nanoseconds of CLOCK_MONOTONIC."""
    forwarded: bool


Action = Callable[[], bool]
"""Called when a step passes; returns whether the frame is forwarded."""


@dataclass(slots=True)
class _Order:
    step: Step
    action: Action
    skip: int
    times: int


class Wiretap(Proxy):
    """Stands between one worker and one server. Use it as `async with`."""

    def __init__(self, server_port: int) -> None:
        super().__init__(server_port)
        self.seen: list[Passage] = []
        """Every step of every job, in its order."""
        self._orders: list[_Order] = []
        self._readers: dict[tuple[int, Direction], FrameReader] = {}
        self._asked: dict[tuple[int, str], tuple[Step, str]] = {}
        self._jobs: dict[str, str] = {}

    def at(self, step: Step, action: Action, *, skip: int = 0, times: int = 1) -> None:
        """Act when a step is observed: not the first `skip` times, then `times` times."""
        self._orders.append(_Order(step, action, skip, times))

    def drop(self, step: Step, *, skip: int = 0, times: int = 1) -> None:
        """Do not forward a step's frame, as if it were lost."""
        self.at(step, lambda: False, skip=skip, times=times)

    @property
    def waits(self) -> bool:
        """Whether something that was ordered has not been done yet."""
        return bool(self._orders)

    def let_through(self, line: int, direction: Direction, chunk: bytes) -> bytes:
        """Forward all frames but those that an action keeps back."""
        reader = self._readers.setdefault((line, direction), FrameReader())
        return b"".join(frame.raw for frame in reader.feed(chunk) if self._forwards(line, direction, frame))

    def _forwards(self, line: int, direction: Direction, frame: Frame) -> bool:
        step, job = self._meaning(line, direction, frame)
        if step is Step.OTHER:
            return True
        answers = [order.action() for order in self._due(step)]
        forwarded = all(answers)
        self.seen.append(Passage(step, job, line, time.monotonic_ns(), forwarded))
        return forwarded

    def _due(self, step: Step) -> list[_Order]:
        due: list[_Order] = []
        for order in [each for each in self._orders if each.step is step]:
            if order.skip:
                order.skip -= 1
                continue
            due.append(order)
            order.times -= 1
            if not order.times:
                self._orders.remove(order)
        return due

    def _meaning(self, line: int, direction: Direction, frame: Frame) -> tuple[Step, str]:
        if not frame.subject:
            return Step.OTHER, ""
        if direction == "to_server":
            step, job = self._sent(frame)
            if step in _ANSWERED and frame.reply:
                self._asked[line, frame.reply] = _ANSWERED[step], job
            return step, job
        if frame.reply.startswith(_ACK):
            job = str(parse_object(frame.body).get("jobId", ""))
            self._jobs[frame.reply] = job
            return Step.DELIVERED, job
        answer = self._asked.pop((line, frame.subject), (Step.OTHER, ""))
        found = parse_object(frame.body)
        is_none = answer[0] is Step.OUTCOME_READ and found.get("eventType") not in _OUTCOMES
        return (Step.OTHER, "") if is_none or "error" in found else answer

    def _sent(self, frame: Frame) -> tuple[Step, str]:
        if frame.subject.startswith(_ACK):
            return _acknowledgement(frame.body), self._jobs.get(frame.subject, "")
        subject = frame.subject.removeprefix(_READ)
        tokens = subject.split(".")
        if len(tokens) != _EVENT_TOKENS or not subject.startswith("trellis.jobs."):
            return Step.OTHER, ""
        if subject != frame.subject:
            is_of_outcome = tokens[5] in _OUTCOMES or tokens[5] == ">"
            return (Step.OUTCOME_ASKED_FOR, tokens[4]) if is_of_outcome else (Step.OTHER, "")
        if tokens[5] == "created":
            return Step.CREATED_SENT, tokens[4]
        if tokens[5] == "started":
            return Step.STARTED_SENT, tokens[4]
        if tokens[5] in _REPORTS:
            return Step.REPORT_SENT, tokens[4]
        return (Step.OUTCOME_SENT, tokens[4]) if tokens[5] in _OUTCOMES else (Step.OTHER, "")


def acked_too_early(seen: Iterable[Passage]) -> list[str]:
    """Return the jobs whose work message was acknowledged before the worker knew that its outcome was stored.

    A job that was not begun on the connection may be acknowledged at once: it had ended before.
    """
    open_: set[tuple[int, str]] = set()
    early: list[str] = []
    for passage in seen:
        held = passage.line, passage.job
        if passage.step is Step.STARTED_STORED and passage.forwarded:
            open_.add(held)
        elif passage.step in (Step.OUTCOME_STORED, Step.OUTCOME_READ) and passage.forwarded:
            open_.discard(held)
        elif passage.step is Step.ACK_SENT and held in open_:
            early.append(passage.job)
    return early


def _acknowledgement(body: bytes) -> Step:
    match body[:4]:
        case b"+ACK" | b"":
            return Step.ACK_SENT
        case b"-NAK":
            return Step.NAK_SENT
        case b"+WPI":
            return Step.PROGRESS_SENT
        case _:
            return Step.OTHER
