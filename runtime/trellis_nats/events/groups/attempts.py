"""Counts the attempts of events. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["AttemptCounter"]

_REMEMBERED: Final = 1_000
"""Events. A strict group has one at a time that is not acknowledged."""


class AttemptCounter:
    """Counts the attempts of events: their deliveries, without those that were postponed.

    A server counts deliveries only, and an instance sees some of them. The instances tell each other what they postponed.
    """

    def __init__(self, max_deliver: int) -> None:
        """Prepare; `max_deliver` is how many attempts an event has."""
        self._most = max_deliver + 1
        """Deliveries of an event that was not postponed: after the last attempt one more, if its process ended in it."""
        self._postponed: dict[int, int] = {}
        """How many deliveries were postponed, by sequence; the event learnt last at the end."""

    def postpone(self, sequence: int, delivered: int) -> int:
        """Take note that this delivery of an event is postponed. Return how many are."""
        count = min(self._postponed.get(sequence, 0) + 1, delivered)
        self.learn(sequence, count)
        return count

    def learn(self, sequence: int, postponed: int) -> None:
        """Take note of how many deliveries of an event were postponed. It is at least what was known."""
        known = self._postponed.pop(sequence, 0)
        self._postponed[sequence] = max(known, postponed)
        if len(self._postponed) > _REMEMBERED:
            del self._postponed[next(iter(self._postponed))]

    def count(self, sequence: int, delivered: int, *, may_be_postponed: bool) -> int:
        """Return which attempt a delivery is, counted from 1.

        Args:
            sequence: that of the event in its stream.
            delivered: how often it has been delivered, this time included.
            may_be_postponed: whether instances of another version may have postponed it.
        """
        if may_be_postponed and sequence not in self._postponed and delivered > self._most:
            # No instance that runs now has told so, but so many deliveries are more than attempts.
            self.learn(sequence, delivered - 1)
        return max(1, delivered - self._postponed.get(sequence, 0))
