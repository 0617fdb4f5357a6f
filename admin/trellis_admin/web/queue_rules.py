"""The rules of a queue as its contract states them, one line each. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final, NamedTuple

from trellis_nats.binding import QueueBinding
from trellis_nats.jobs.keys.model.policy import KeyPolicy, StalePolicy, policy_of

__all__ = ["Rule", "exact_duration", "list_rules"]

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"))
_OWNER_GONE: Final[dict[StalePolicy, str]] = {
    "block": "block: only its own job, or an operator, frees the key",
    "fail-stale": "fail-stale: the next job takes the key, the old one ends as stale",
}


class Rule(NamedTuple):
    """One line of the panel."""

    word: str
    text: str
    is_code: bool = False
    """Whether the text is a template and not a sentence."""


def list_rules(queue: QueueBinding) -> list[Rule]:
    """Return the rules of a queue, in the order in which they are shown."""
    rules = [
        Rule("Attempts", _describe_attempts(queue)),
        Rule("Concurrency", f"{queue.concurrency} in each process"),
    ]
    if queue.default_deadline is not None:
        rules.append(Rule("Deadline", f"{exact_duration(queue.default_deadline)} after its creation"))
    policy = policy_of(queue)
    if policy is not None:
        rules.extend(_list_key_rules(policy))
    return rules


def exact_duration(span: timedelta) -> str:
    """Return a duration of a contract in its largest whole unit: `5 s`, `0.5 s`, `10 min`, `90 s`."""
    seconds = span.total_seconds()
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"


def _describe_attempts(queue: QueueBinding) -> str:
    retries = queue.max_deliver - 1
    if not retries:
        return "1, no retry"
    waits = queue.backoff[:retries]
    if not waits:
        return f"{queue.max_deliver}, without a wait"
    more = ", then the same again" if len(waits) < retries else ""
    return f"{queue.max_deliver}, after {', '.join(map(exact_duration, waits))}{more}"


def _list_key_rules(policy: KeyPolicy) -> Iterator[Rule]:
    yield Rule("Key", ":".join(map(_show_part, policy.template)), is_code=True)
    yield Rule("At a time", f"{policy.max_active} active and {policy.max_queued} waiting of a key")
    yield Rule("When full", policy.when_full)
    yield Rule("Owner gone", _OWNER_GONE[policy.stale_policy])
    yield Rule("Lease", f"{exact_duration(policy.lease)}, renewed every {exact_duration(policy.interval)}")


def _show_part(part: str) -> str:
    """Return a part of a key, which keys join with colons: a literal as it is, a pointer into the payload in braces."""
    return f"{{{part[1:]}}}" if part.startswith("/") else part
