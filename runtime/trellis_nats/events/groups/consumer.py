"""The durable consumer of a group on the server. Pure."""

from __future__ import annotations

from typing import Final

from pydantic import JsonValue

from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats.binding import GroupBinding
from trellis_nats.clock import to_nanoseconds
from trellis_nats.provision import compare_consumer
from trellis_nats.provision.requirements import ConsumerRequirement, platform_settings

__all__ = ["group_consumer", "problem_of"]

_UNLIMITED: Final = -1
"""The group counts the deliveries and delays the retries: a server redelivers a nak at once, and stops without a word."""


def group_consumer(group: GroupBinding) -> ConsumerRequirement:
    """Return the consumer that the instances of a group pull from."""
    subjects: list[JsonValue] = [*sorted(group.filter_subjects)]
    filters: dict[str, JsonValue] = (
        {"filter_subject": subjects[0]} if len(subjects) == 1 else {"filter_subjects": subjects}
    )
    return ConsumerRequirement(
        stream=group.stream,
        name=group.consumer_name,
        config={
            **filters,
            "deliver_policy": group.replay,
            "ack_policy": "explicit",
            "ack_wait": to_nanoseconds(group.ack_wait),
            "max_deliver": _UNLIMITED,
            "max_ack_pending": group.concurrency,
        },
        tolerated=("ack_wait", "deliver_policy", "max_ack_pending"),
        as_platform=platform_settings(group),
        may_filter_more=True,
    )


def problem_of(group: GroupBinding, info: ConsumerInfo) -> str | None:
    """Return why a group cannot be worked with an existing consumer; None when it can."""
    problems, _ = compare_consumer(group_consumer(group), info)
    if group.concurrency == 1 and info.max_ack_pending != 1:
        limit = "no limit" if info.max_ack_pending <= 0 else str(info.max_ack_pending)
        problems.append(f"its max_ack_pending is {limit}, not 1: events would not be handled in order")
    return "; ".join(problems) or None
