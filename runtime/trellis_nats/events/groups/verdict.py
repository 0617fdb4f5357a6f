"""What happens to an event whose handler raised. Pure."""

from __future__ import annotations

from datetime import timedelta

from trellis_nats.binding import GroupBinding

__all__ = ["retry_delay"]


def retry_delay(group: GroupBinding, attempt: int) -> timedelta | None:
    """Return how long to wait before the next attempt; None when this was the last one.

    Args:
        group: the group's numbers.
        attempt: which attempt raised, counted from 1.
    """
    if attempt >= group.max_deliver:
        return None
    waits = group.backoff
    return waits[min(attempt, len(waits)) - 1] if waits else timedelta(0)
