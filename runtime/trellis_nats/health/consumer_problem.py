"""Explains from the server's report about a consumer why no work arrives. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._support.plural import plural

__all__ = ["Problem", "find_problem"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a consumer delivers nothing."""

    reason: str
    critical: bool = True
    """Whether this process does not consume; otherwise the server holds messages back."""
    needed: bool = True
    """Whether the service is not ready because of it."""


def find_problem(
    info: ConsumerInfo | None, previous: ConsumerInfo | None, *, has_free_capacity: bool
) -> Problem | None:
    """Return why no work arrives; None when it would.

    When the worker is at its capacity, only a missing consumer is a problem: the rest is the state of a busy worker.
    That the server holds no pull request must be seen twice, because there is a moment between two requests. An
    exhausted consumer does not make a service unready: otherwise replicas that share a small limit would never all be
    ready.

    Args:
        info: what the server reports now; None when there is no such consumer.
        previous: what it reported before; None when it was not asked, or there was no such consumer.
        has_free_capacity: whether the worker could take one more message.
    """
    if info is None:
        return Problem("the consumer does not exist")
    if info.is_paused:
        return Problem("the consumer is paused", critical=False)
    if not has_free_capacity:
        return None
    if info.is_exhausted:
        return Problem(
            f"{plural(info.ack_pending, 'message is', 'messages are')} delivered and not acknowledged, which is the consumer's limit "
            f"(max_ack_pending {info.max_ack_pending}), while {info.pending} wait",
            critical=False,
            needed=False,
        )
    if info.waiting == 0 and previous is not None and previous.waiting == 0:
        return Problem("the server holds no pull request")
    return None
