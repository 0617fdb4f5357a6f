"""Event consumer groups: the name of each, its numbers, and its events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from trellis_codegen import naming
from trellis_codegen.contract.defaults import BACKOFF_MS, GROUP_MAX_DELIVER
from trellis_codegen.contract.exchange import Event
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.queues import EventConsumer
from trellis_codegen.plan.collisions import Claim
from trellis_codegen.plan.imports import Import
from trellis_codegen.plan.jobs import describe_retries
from trellis_codegen.plan.models import ModelsPlan
from trellis_codegen.plan.wording import Argument, choose_text, describe, write_duration, write_durations
from trellis_codegen.problems import Pointer

__all__ = [
    "GroupEventPlan",
    "GroupPlan",
    "UsedEvent",
    "UsedEvents",
    "claim_event_group_names",
    "claim_group_events",
    "plan_event_groups",
]

_RESERVED = frozenset(["leave_to_others", "spec"])
"""The attributes of the runtime's class: an event with one of these names gets a trailing underscore."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupEventPlan:
    """One event of a group."""

    attribute: str
    event: str
    """The type of the event."""
    constant: str
    """What the file calls its spec."""
    docstring: str
    place: Pointer
    """Where the contract declares it."""
    imports: tuple[Import, ...]
    """Its spec and its type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UsedEvent:
    """An event of another contract."""

    name: str
    constant: str
    """The name of its spec."""
    event: str
    """Its type."""
    docstring: str


@dataclass(frozen=True, kw_only=True, slots=True)
class UsedEvents:
    """The events of another contract."""

    alias: str
    attribute: str
    place: Pointer
    """Where the contract declares that it uses the other one."""
    by_name: Mapping[str, UsedEvent]


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
    for name in manifest.event_consumers or {}:
        yield Claim(f"consumers.{naming.attribute(name)}", ("eventConsumers", name))


def plan_event_groups(
    manifest: Manifest, models: ModelsPlan, used: Mapping[str, UsedEvents]
) -> tuple[GroupPlan, ...]:
    """Plan the groups, in the contract's order; `used` has the events of other contracts, by alias.

    Events of an alias that it lacks are left out: the contract that has them has problems of its own.
    """
    own = {name: _own_event(name, event, models) for name, event in (manifest.events or {}).items()}
    return tuple(
        _group(name, group, [*_events(group, own, used)])
        for name, group in (manifest.event_consumers or {}).items()
    )


def claim_group_events(groups: Iterable[GroupPlan]) -> Iterator[Claim]:
    """Yield the names that the events of groups need in `consumers.py`."""
    for group in groups:
        for event in group.events:
            yield Claim(f"consumers.{group.attribute}.{event.attribute}", event.place)
            yield Claim(event.constant, event.place)
            if event.place[0] == "uses":
                yield Claim(event.event, event.place)


def _group(name: str, group: EventConsumer, events: Iterable[GroupEventPlan]) -> GroupPlan:
    return GroupPlan(
        name=name,
        attribute=naming.attribute(name),
        constant=f"{naming.constant(name)}_GROUP",
        class_name=naming.class_name(f"{naming.pascal(name)}Group"),
        spec=tuple(_spec(name, group)),
        events=tuple(events),
        docstring=describe(group.docs, f"The `{name}` event group.", _numbers(group)),
    )


def _events(
    group: EventConsumer, own: Mapping[str, GroupEventPlan], used: Mapping[str, UsedEvents]
) -> Iterator[GroupEventPlan]:
    for name in dict.fromkeys(group.self_events or []):
        yield own[name]
    for alias, names in (group.uses or {}).items():
        for name in dict.fromkeys(names) if alias in used else ():
            yield _used_event(used[alias].by_name[name], used[alias])


def _own_event(name: str, event: Event, models: ModelsPlan) -> GroupEventPlan:
    event_type, constant = models.type_name(event.event.schema_name), naming.constant(name)
    return GroupEventPlan(
        attribute=_attribute(name),
        event=event_type,
        constant=constant,
        docstring=choose_text(event.docs, f"The `{name}` event."),
        place=("events", name),
        imports=(Import(module=".events", name=constant), Import(module=".models", name=event_type)),
    )


def _used_event(event: UsedEvent, used: UsedEvents) -> GroupEventPlan:
    """Return an event of another contract: in this file, its names begin with the alias of the contract."""
    module = f".uses.{used.attribute}"
    constant = f"{naming.constant(used.alias)}_{event.constant}"
    event_type = f"{naming.pascal(used.alias)}{event.event}"
    return GroupEventPlan(
        attribute=_attribute(event.name),
        event=event_type,
        constant=constant,
        docstring=event.docstring,
        place=(*used.place, event.name),
        imports=(
            Import(module=f"{module}.events", name=event.constant, alias=constant),
            Import(module=f"{module}.models", name=event.event, alias=event_type),
        ),
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
