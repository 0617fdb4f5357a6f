"""The stack of a job, as the process that runs it answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, Self, TypeAlias, cast

from pydantic import JsonValue
from pydantic_core import from_json

from trellis_nats.clock import parse_timestamp, timestamp, to_milliseconds
from trellis_nats.codec import encode_json

__all__ = ["FRAMES_MAX", "JobStack", "StackFrame", "StackPlace"]

FRAMES_MAX: Final = 64
"""The innermost frames of a stack: those that say what the handler does now."""
_TEXT_MAX: Final = 300
"""Characters of a file's or a function's name."""

StackPlace: TypeAlias = Literal["waiting", "event loop", "thread", "not in the handler"]
"""Where a handler is: it awaits something; it runs on the event loop, and blocks it while it does not await; it is a plain
`def` in a thread of its own; or it has not begun, or ended, and the runtime stores that."""
_PLACES: Final[Mapping[str, StackPlace]] = {
    "waiting": "waiting",
    "event loop": "event loop",
    "thread": "thread",
    "not in the handler": "not in the handler",
}


@dataclass(frozen=True, slots=True)
class StackFrame:
    """One frame: lines of code, and no values."""

    file: str
    line: int
    function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStack:
    """What the handler of a job does at a moment."""

    job_id: str
    instance_id: str
    attempt: int
    """The number of the attempt, counted from 1."""
    at: datetime
    """By the clock of the process that runs it."""
    place: StackPlace
    frames: tuple[StackFrame, ...]
    """From the handler to the innermost frame; the runtime's own frames around the handler are left out."""
    is_cut: bool
    """Whether there are more frames, between the handler and the first one of these."""
    loop_lag: timedelta
    """The longest delay of the process's event loop in the last 30 to 60 s; while it is blocked, for how long."""

    def encode(self) -> bytes:
        """Encode the answer as JSON."""
        frames: list[JsonValue] = [
            {"file": frame.file[-_TEXT_MAX:], "line": frame.line, "function": frame.function[:_TEXT_MAX]}
            for frame in self.frames
        ]
        return encode_json(
            {
                "jobId": self.job_id,
                "instanceId": self.instance_id,
                "attempt": self.attempt,
                "timestamp": timestamp(self.at),
                "place": self.place,
                "frames": frames,
                "isCut": self.is_cut,
                "loopLagMs": to_milliseconds(self.loop_lag),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """Decode an answer. None: it is not one."""
        try:
            content = cast("JsonValue", from_json(data))
        except ValueError:
            return None
        match content:
            case {
                "jobId": str(job_id),
                "instanceId": str(instance_id),
                "attempt": int(attempt),
                "timestamp": str(at),
                "place": str(place),
                "frames": list(frames),
                "isCut": bool(is_cut),
                "loopLagMs": int(loop_lag),
            } if place in _PLACES:
                instant = _instant(at)
                parsed = _frames(frames)
                if instant is None or parsed is None:
                    return None
                return cls(
                    job_id=job_id,
                    instance_id=instance_id,
                    attempt=attempt,
                    at=instant,
                    place=_PLACES[place],
                    frames=parsed,
                    is_cut=is_cut,
                    loop_lag=timedelta(milliseconds=loop_lag),
                )
            case _:
                return None


def _frames(listed: Sequence[JsonValue]) -> tuple[StackFrame, ...] | None:
    frames: list[StackFrame] = []
    for entry in listed[:FRAMES_MAX]:
        match entry:
            case {"file": str(file), "line": int(line), "function": str(function)}:
                frames.append(StackFrame(file[-_TEXT_MAX:], line, function[:_TEXT_MAX]))
            case _:
                return None
    return tuple(frames)


def _instant(text: str) -> datetime | None:
    try:
        return parse_timestamp(text)
    except ValueError:
        return None
