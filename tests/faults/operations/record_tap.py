"""A proxy between one instance and the server that counts the writes of operations, and acts when one passes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from tests.faults.harness.frames import Frame, FrameReader
from tests.support.proxy import Direction, Proxy

__all__ = ["BUCKET", "Passing", "Point", "RecordTap", "Writes"]

BUCKET: Final = "trellis_operations_proc"
_RECORD: Final = re.compile(rf"\$KV\.{BUCKET}\.[0-9A-Z]{{26}}")

Passing: TypeAlias = Literal["sent", "stored"]
Point: TypeAlias = tuple[int, Passing]
"""The n-th write of a record: on its way to the server, or its answer on the way back."""


@dataclass
class Writes:
    """What all instances of a scenario have written."""

    act_at: Point | None
    count: int = 0
    acted: bool = False
    asked: dict[tuple[RecordTap, int, str], int] = field(
        default_factory=dict[tuple["RecordTap", int, str], int]
    )


class RecordTap(Proxy):
    """Stands between one instance and one server. Use it as `async with`."""

    def __init__(self, server_port: int, writes: Writes) -> None:
        super().__init__(server_port)
        self.act: Callable[[], object] = lambda: None
        """Called at the point; the frame is not forwarded then."""
        self._writes = writes
        self._readers: dict[tuple[int, Direction], FrameReader] = {}

    def let_through(self, line: int, direction: Direction, chunk: bytes) -> bytes:
        """Forward all frames but the one at the point."""
        reader = self._readers.setdefault((line, direction), FrameReader())
        return b"".join(frame.raw for frame in reader.feed(chunk) if self._passes(line, direction, frame))

    def _passes(self, line: int, direction: Direction, frame: Frame) -> bool:
        writes = self._writes
        if direction == "to_server":
            if not _RECORD.fullmatch(frame.subject):
                return True
            writes.count += 1
            writes.asked[self, line, frame.reply] = writes.count
            point: Point = (writes.count, "sent")
        else:
            number = writes.asked.pop((self, line, frame.subject), None)
            if number is None:
                return True
            point = (number, "stored")
        if writes.acted or point != writes.act_at:
            return True
        writes.acted = True
        self.act()
        return False
