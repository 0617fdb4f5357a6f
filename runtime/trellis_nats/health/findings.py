"""What the server says about a consumer, and what of it explains that no work comes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

__all__ = ["Findings", "Problem", "explain"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """One look at a consumer: the parts of CONSUMER.INFO that matter for the question whether work would come."""

    exists: bool = True
    paused: bool = False
    pending: int = 0
    """Messages that the consumer has not delivered yet."""
    ack_pending: int = 0
    """Messages delivered and not answered; those of delayed naks count (faults.md, B.2)."""
    max_ack_pending: int = 0
    """How many of those there may be; 0 or less when any number."""
    waiting: int = 0
    """Pull requests that the server holds, of all workers."""

    @classmethod
    def read(cls, info: Mapping[str, JsonValue] | None) -> Findings:
        """Read the server's answer; None is its answer that there is no such consumer."""
        if info is None:
            return cls(exists=False)
        config = info.get("config")
        limits = config if isinstance(config, Mapping) else {}
        return cls(
            paused=info.get("paused") is True,
            pending=_count(info, "num_pending"),
            ack_pending=_count(info, "num_ack_pending"),
            max_ack_pending=_count(limits, "max_ack_pending"),
            waiting=_count(info, "num_waiting"),
        )

    @property
    def is_exhausted(self) -> bool:
        """Whether the server delivers nothing more before something is answered."""
        return 0 < self.max_ack_pending <= self.ack_pending and self.pending > 0


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a queue is not well."""

    reason: str
    critical: bool = True
    """Whether this process itself does not consume; else it would, if the server let it."""
    needed: bool = True
    """Whether the service is not ready because of it."""


def explain(look: Findings, previous: Findings | None, *, has_free_capacity: bool) -> Problem | None:
    """Say why no work comes; None when it would.

    With every hand full only a missing consumer is a problem: the rest is the state of a busy worker. That the server
    holds no pull request must be seen twice, because there is a moment between two requests. An exhausted consumer
    does not make a service unready: replicas that share a small limit would else never all be ready.
    """
    if not look.exists:
        return Problem("the consumer does not exist")
    if look.paused:
        return Problem("the consumer is paused", critical=False)
    if not has_free_capacity:
        return None
    if look.is_exhausted:
        return Problem(
            f"{look.ack_pending} messages are delivered and not answered, which is the consumer's limit "
            f"(max_ack_pending {look.max_ack_pending}), while {look.pending} wait",
            critical=False,
            needed=False,
        )
    if look.waiting == 0 and previous is not None and previous.exists and previous.waiting == 0:
        return Problem("the server holds no request for work")
    return None


def _count(content: Mapping[str, JsonValue], name: str) -> int:
    value = content.get(name)
    return value if isinstance(value, int) else 0
