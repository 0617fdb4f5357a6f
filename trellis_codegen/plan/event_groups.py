"""Event consumer groups: the name of each, its numbers, and its events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trellis_codegen import naming
from trellis_codegen.contract.defaults import BACKOFF_MS, GROUP_MAX_DELIVER
from trellis_codegen.contract.manifest import EventConsumer, Manifest
from trellis_codegen.plan.collisions import Claim
from trellis_codegen.plan.jobs import describe_retries
from trellis_codegen.plan.models import ModelsPlan
from trellis_codegen.plan.wording import Argument, choose_text, write_duration, write_durations

__all__ = ["GroupEventPlan", "GroupPlan", "claim_event_group_names", "plan_event_groups"]

_RESERVED = frozenset(["leave_to_others", "spec"])
"""The attributes of the runtime's class: an event with one of these names gets a trailing underscore."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupEventPlan:
    """One event of a group."""

    attribute: str
    event: str
    """The type of the event."""
    constant: str
    """The name of its spec in `events.py`."""
    docstring: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupPlan:
    """One group."""

    name: str
    attribute: str
    constant: str
    class_name: str
    spec: tuple[Argument, ...]
    events: tuple[GroupEventPlan, ...]
    docstring: str


def claim_event_group_names(manifest: Manifest) -> Iterator[Claim]:
    """Yield the Python names that the groups need; their events have names of their own in `events.py`."""
    for name, _ in _generated(manifest):
        yield Claim(f"consumers.{naming.attribute(name)}", ("eventConsumers", name))


def plan_event_groups(manifest: Manifest, models: ModelsPlan) -> tuple[GroupPlan, ...]:
    """Plan the groups, in the contract's order; those with events of other contracts are left out."""
    return tuple(_group(name, group, manifest, models) for name, group in _generated(manifest))


def _generated(manifest: Manifest) -> list[tuple[str, EventConsumer]]:
    groups = manifest.event_consumers or {}
    return [(name, group) for name, group in groups.items() if not group.uses]


def _group(name: str, group: EventConsumer, manifest: Manifest, models: ModelsPlan) -> GroupPlan:
    return GroupPlan(
        name=name,
        attribute=naming.attribute(name),
        constant=f"{naming.constant(name)}_GROUP",
        class_name=naming.class_name(f"{naming.pascal(name)}Group"),
        spec=tuple(_spec(name, group)),
        events=tuple(_event(event, manifest, models) for event in dict.fromkeys(group.self_events or [])),
        docstring="\n\n".join([choose_text(group.docs, f"The `{name}` event group."), _numbers(group)]),
    )


def _event(name: str, manifest: Manifest, models: ModelsPlan) -> GroupEventPlan:
    event = (manifest.events or {})[name]
    return GroupEventPlan(
        attribute=_attribute(name),
        event=models.type_name(event.event.schema_name),
        constant=naming.constant(name),
        docstring=choose_text(event.docs, f"The `{name}` event."),
    )


def _attribute(event: str) -> str:
    attribute = naming.attribute(event)
    return f"{attribute}_" if attribute in _RESERVED else attribute


def _spec(name: str, group: EventConsumer) -> Iterator[Argument]:
    yield Argument(name="name", value=repr(name))
    if group.replay is not None:
        yield Argument(name="replay", value=repr(group.replay))
    if group.concurrency is not None:
        yield Argument(name="concurrency", value=str(group.concurrency))
    if group.ack_wait_ms is not None:
        yield write_duration("ack_wait", group.ack_wait_ms)
    if group.max_deliver is not None:
        yield Argument(name="max_deliver", value=str(group.max_deliver))
    if group.backoff_ms is not None:
        yield write_durations("backoff", group.backoff_ms)


def _numbers(group: EventConsumer) -> str:
    """Describe what the numbers of the group mean for an event."""
    begins = (
        "the oldest stored event" if group.replay == "all" else "the events that are published from then on"
    )
    max_deliver = GROUP_MAX_DELIVER if group.max_deliver is None else group.max_deliver
    backoff = BACKOFF_MS if group.backoff_ms is None else tuple(group.backoff_ms)
    return f"A new group begins with {begins}. Events are handled in order. {describe_retries(max_deliver, backoff)}"
