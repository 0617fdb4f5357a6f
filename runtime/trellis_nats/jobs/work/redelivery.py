"""What a work consumer really does with messages: our own is plain, one made by another runtime may have a backoff."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo

__all__ = ["RedeliveryPolicy", "postponed_delay"]

_RESTING: Final = timedelta(seconds=1)
_RESTING_LONGEST: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class RedeliveryPolicy:
    """How long a server waits for a sign of life, and how it delays what is given back."""

    ack_wait: timedelta
    backoff: tuple[timedelta, ...] = ()

    @classmethod
    def of(cls, info: ConsumerInfo, *, otherwise: timedelta) -> Self:
        """Read the policy of a consumer. A `backoff` replaces the `ack_wait` (faults.md, fact 1).

        Args:
            info: what the server reports.
            otherwise: the ack wait of a consumer that has none.
        """
        wait = min(info.backoff, default=info.ack_wait) or otherwise
        return cls(wait, info.backoff)

    def nak_delay(self, wanted: timedelta, *, delivered: int) -> timedelta:
        """Return the delay to ask for, so that the wanted one comes true on the given delivery, counted from 1.

        A server adds the difference between the backoff's step for this delivery and its first one (faults.md,
        fact 2). What it adds beyond the wanted delay cannot be taken away.
        """
        if not self.backoff or wanted <= timedelta(0):
            return wanted
        added = self.backoff[min(delivered, len(self.backoff)) - 1] - self.backoff[0]
        return max(wanted - added, timedelta(milliseconds=1))


def postponed_delay(delivered: int) -> timedelta:
    """Return how long a message rests at the server that cannot be worked now, however often it comes: longer each time.

    So do those beyond the number that may wait for their keys here, and those whose history or key cannot be read.
    """
    return min(_RESTING * delivered, _RESTING_LONGEST)
