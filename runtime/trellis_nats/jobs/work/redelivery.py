"""What a work consumer really does with messages: our own is plain, one made by another runtime may have a backoff."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self, cast

from pydantic import JsonValue

__all__ = ["RedeliveryPolicy", "postponed_delay"]

_RESTING: Final = timedelta(seconds=1)
_RESTING_LONGEST: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class RedeliveryPolicy:
    """How long a server waits for a sign of life, and how it delays what is given back."""

    ack_wait: timedelta
    backoff: tuple[timedelta, ...] = ()

    @classmethod
    def of(cls, info: Mapping[str, JsonValue], *, otherwise: timedelta) -> Self:
        """Read it from the server's answer about a consumer. `backoff` replaces `ack_wait` (faults.md, fact 1)."""
        config = info.get("config")
        if not isinstance(config, dict):
            return cls(otherwise)
        backoff = _durations(config.get("backoff"))
        waits = backoff or _durations([config.get("ack_wait")])
        return cls(min(waits, default=otherwise), backoff)

    def nak_delay(self, wanted: timedelta, *, delivered: int) -> timedelta:
        """Return the delay to ask for, so that the wanted one comes true on the given delivery, counted from 1.

        A server adds the difference between the backoff's step for this delivery and its first one (faults.md,
        fact 2). What it adds beyond the wanted delay cannot be taken away.
        """
        if not self.backoff or wanted <= timedelta(0):
            return wanted
        added = self.backoff[min(delivered, len(self.backoff)) - 1] - self.backoff[0]
        return max(wanted - added, timedelta(milliseconds=1))


def _durations(nanoseconds: JsonValue) -> tuple[timedelta, ...]:
    values = cast("Sequence[JsonValue]", nanoseconds) if isinstance(nanoseconds, list) else ()
    return tuple(
        timedelta(microseconds=value / 1000) for value in values if isinstance(value, int) and value > 0
    )


def postponed_delay(delivered: int) -> timedelta:
    """Return how long a message rests at the server that cannot be worked now, however often it comes: longer each time.

    So do those beyond the number that may wait for their keys here, and those whose history or key cannot be read.
    """
    return min(_RESTING * delivered, _RESTING_LONGEST)
