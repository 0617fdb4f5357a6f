"""The redelivery policy of a work consumer: this runtime creates plain ones, another runtime's may have a backoff."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo

__all__ = ["RedeliveryPolicy", "postponed_delay", "spread"]

_POSTPONED: Final = timedelta(seconds=1)
_POSTPONED_LONGEST: Final = timedelta(seconds=30)
_HELD_LONGEST: Final = timedelta(seconds=60)
"""Parking costs a write and two messages more than a delayed redelivery."""
_HELD_LONGEST_NARROW: Final = timedelta(seconds=1)
_NARROW: Final = 1_000
"""A consumer with less room for deliveries, which another runtime or an operator gave it, must not hold waits at all: ten
jobs in a backoff of 30 s would stop a queue with `max_ack_pending` 10."""


@dataclass(frozen=True, slots=True)
class RedeliveryPolicy:
    """How long the server waits for a progress ack, and how it delays redeliveries."""

    ack_wait: timedelta
    backoff: tuple[timedelta, ...] = ()
    max_deliver: int = 0
    """How often the server delivers a message at most; 0 or less means no limit."""
    max_ack_pending: int = 0
    """How many deliveries the consumer may hold; 0 or less: any number."""

    @classmethod
    def of(cls, info: ConsumerInfo, *, otherwise: timedelta) -> Self:
        """Read the policy of a consumer. A `backoff` replaces the `ack_wait` (faults.md, fact 1).

        Args:
            info: what the server reports.
            otherwise: the ack wait of a consumer that has none.
        """
        wait = min(info.backoff, default=info.ack_wait) or otherwise
        return cls(wait, info.backoff, info.max_deliver, info.max_ack_pending)

    def may_hold(self, delay: timedelta) -> bool:
        """Return whether the consumer may hold a delivery for a delay. Longer waits are parked, where possible."""
        is_narrow = 0 < self.max_ack_pending < _NARROW
        return delay <= (_HELD_LONGEST_NARROW if is_narrow else _HELD_LONGEST)

    def is_silence_proven(self, delivered: int, *, connected_for: timedelta) -> bool:
        """Return whether a delivery proves that no worker has sent a progress ack for the message for an ack wait.

        A first delivery does not: the server may have lost its state, or the job was enqueued again. Nor does one soon
        after a reconnect: progress acks may not have reached the server. The last one counts, because none follows.

        Args:
            delivered: how often the message has been delivered, this time included.
            connected_for: how long this process has been connected without an interruption.
        """
        is_last = 0 < self.max_deliver <= delivered
        return is_last or (delivered > 1 and connected_for > self.ack_wait)

    def nak_delay(self, wanted: timedelta, *, delivered: int) -> timedelta:
        """Return the delay to ask for, so that the given delivery, counted from 1, is delayed as wanted.

        A server adds the difference between the backoff's step for this delivery and its first one (faults.md,
        fact 2). What it adds beyond the wanted delay cannot be taken away.
        """
        if not self.backoff or wanted <= timedelta(0):
            return wanted
        added = self.backoff[min(delivered, len(self.backoff)) - 1] - self.backoff[0]
        return max(wanted - added, timedelta(milliseconds=1))


def spread(waits: Sequence[timedelta], jitter: float) -> list[timedelta]:
    """Return the waits, each longer or shorter by up to a part, so that what failed together does not return together.

    Args:
        waits: the waits between attempts.
        jitter: the part: 0.1 is up to 10 %.
    """
    return [wait * random.uniform(1 - jitter, 1 + jitter) for wait in waits]  # noqa: S311 - it need not be secret


def postponed_delay(delivered: int) -> timedelta:
    """Return the redelivery delay of a message that cannot be worked now. It grows with each delivery, to 30 s.

    It applies when too many messages wait for their keys in this process, and when a history or a key is unreadable.
    """
    return min(_POSTPONED * delivered, _POSTPONED_LONGEST)
