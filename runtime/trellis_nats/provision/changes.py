"""Plans what applying a contract changes on a server, and what each change does to waiting work. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pydantic import JsonValue

from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats.contract import Contract
from trellis_nats.provision.compare import (
    consumer_differences,
    filters_of,
    foreign_traits,
    shown,
    stream_differences,
    values_differ,
)
from trellis_nats.provision.effects import consumer_effect, shrinks, stream_effect
from trellis_nats.provision.plan import Plan
from trellis_nats.provision.requirements import ConsumerRequirement, StreamRequirement
from trellis_nats.provision.revision import Relation, relate

__all__ = ["Change", "Creation", "Refusal", "ServerState", "Setting", "Update", "plan_changes"]


@dataclass(frozen=True, slots=True)
class ServerState:
    """What a server has of what a contract requires."""

    version: tuple[int, ...]
    streams: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict[str, Mapping[str, JsonValue]])
    """The configurations of the streams, buckets and stores that exist, by the name of the stream."""
    consumers: Mapping[tuple[str, str], ConsumerInfo] = field(
        default_factory=dict[tuple[str, str], ConsumerInfo]
    )
    """The consumers that exist, by the names of the stream and of the consumer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting that the server has otherwise than the contract states."""

    name: str
    """Its name in the JetStream API."""
    have: str
    want: str
    effect: str
    """What the change does to what waits."""
    value: JsonValue
    """What to set."""
    is_destructive: bool = False
    """Whether the change deletes or limits what is stored or waits."""
    is_fixed: bool = False
    """Whether the server cannot change it."""
    is_tolerated: bool = True
    """Whether a process with `Options(provision="update")` applies it too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Creation:
    """A resource that does not exist."""

    title: str
    requirement: StreamRequirement | ConsumerRequirement


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """A resource with other settings, or one that is only marked with this version of the contract."""

    title: str
    requirement: StreamRequirement | ConsumerRequirement
    relation: Relation
    """How the contract relates to the one that the resource follows."""
    settings: tuple[Setting, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A resource that differs in what correctness depends on, and that cannot be changed so."""

    title: str
    problems: tuple[str, ...]


Change: TypeAlias = Creation | Update | Refusal


def plan_changes(wanted: Plan, state: ServerState, contract: Contract) -> list[Change]:
    """Return what must change so that a server has what a contract states, in the order in which it can be applied."""
    changes = [
        change
        for stream in wanted.streams
        if state.version >= stream.since and (change := _plan_stream(stream, state, contract)) is not None
    ]
    changes += [
        change
        for consumer in wanted.consumers
        if state.version >= consumer.since
        and (change := _plan_consumer(consumer, state, contract)) is not None
    ]
    return changes


def _plan_stream(wanted: StreamRequirement, state: ServerState, contract: Contract) -> Change | None:
    existing = state.streams.get(wanted.name)
    if existing is None:
        return Creation(title=wanted.title, requirement=wanted)
    if problems := stream_differences(wanted, existing):
        return Refusal(title=wanted.title, problems=tuple(problems))
    if not wanted.tolerated:
        return None
    settings = tuple(
        Setting(
            name=name,
            have=shown(name, existing),
            want=shown(name, wanted.config),
            effect=stream_effect(name, existing, wanted.config),
            value=wanted.config.get(name),
            is_destructive=shrinks(existing.get(name), wanted.config.get(name)),
        )
        for name in wanted.tolerated
        if values_differ(name, existing, wanted.config)
    )
    return _update(wanted, relate(existing, contract), settings)


def _plan_consumer(wanted: ConsumerRequirement, state: ServerState, contract: Contract) -> Change | None:
    info = state.consumers.get((wanted.stream, wanted.name))
    if info is None:
        return Creation(title=wanted.title, requirement=wanted)
    can_refilter = wanted.may_filter_more and not values_differ("ack_policy", info.config, wanted.config)
    # `headers_only` can be taken back.
    problems = [] if can_refilter else consumer_differences(wanted, {**info.config, "headers_only": False})
    if problems:
        return Refusal(title=wanted.title, problems=tuple(problems))
    settings = (
        *_filter_settings(wanted, info),
        *_own_settings(wanted, info),
        *_stated_settings(wanted, info),
    )
    return _update(wanted, relate(info.config, contract), settings)


def _update(
    wanted: StreamRequirement | ConsumerRequirement, relation: Relation, settings: tuple[Setting, ...]
) -> Update | None:
    if not settings and relation == "same":
        return None
    return Update(title=wanted.title, requirement=wanted, relation=relation, settings=settings)


def _filter_settings(wanted: ConsumerRequirement, info: ConsumerInfo) -> Iterator[Setting]:
    have, want = filters_of(info.config), filters_of(wanted.config)
    if have == want:
        return
    missing, more = sorted({*want} - {*have}), sorted({*have} - {*want})
    effects = [f"{', '.join(missing)}: what is stored behind the last delivered message arrives"] * bool(
        missing
    )
    effects += [f"{', '.join(more)}: what waits is no longer delivered"] * bool(more)
    yield Setting(
        name="filter_subjects",
        have=", ".join(have) or "nothing",
        want=", ".join(want),
        effect="; ".join(effects),
        value=[*want],
        is_destructive=bool(more),
    )


def _own_settings(wanted: ConsumerRequirement, info: ConsumerInfo) -> Iterator[Setting]:
    """Yield what makes a consumer of another runtime, or one that a person changed, one of this runtime."""
    if info.config.get("headers_only") is True:
        yield Setting(
            name="headers_only",
            have="true",
            want="false",
            effect="messages arrive with their bodies, and workers pull again",
            value=False,
            is_tolerated=False,
        )
    if not foreign_traits(wanted, info.config):
        return
    effect = (
        "the server no longer counts or delays deliveries, the worker does; messages in progress stay there"
    )
    for name, is_set in (("backoff", bool(info.backoff)), ("max_deliver", info.max_deliver > 0)):
        if is_set:
            yield Setting(
                name=name,
                have=shown(name, info.config),
                want="not set",
                effect=effect,
                value=None if name == "backoff" else wanted.config.get(name),
                is_tolerated=False,
            )


def _stated_settings(wanted: ConsumerRequirement, info: ConsumerInfo) -> Iterator[Setting]:
    for name in wanted.tolerated:
        if values_differ(name, info.config, wanted.config):
            yield Setting(
                name=name,
                have=shown(name, info.config),
                want=shown(name, wanted.config),
                effect=consumer_effect(name, info, wanted.config),
                value=wanted.config.get(name),
                is_fixed=name == "deliver_policy",
            )
