"""Merges what the surfaces of a service require: each resource once, in the order of creation. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from pydantic import JsonValue

from trellis_nats.clock import now
from trellis_nats.contract import Contract
from trellis_nats.errors import ConfigurationError
from trellis_nats.provision.requirements import (
    BucketRequirement,
    ConsumerRequirement,
    Requirement,
    ServerFeature,
    StoreRequirement,
    StreamRequirement,
)
from trellis_nats.provision.revision import stamp

__all__ = ["BATCHES_SINCE", "Plan", "consumer_config", "plan", "stream_config"]

RequirementT = TypeVar("RequirementT", StreamRequirement, ConsumerRequirement)


BATCHES_SINCE: Final = (2, 12, 0)
"""The first server version with atomic batches."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that must exist, in the order in which it can be created."""

    streams: tuple[StreamRequirement, ...]
    consumers: tuple[ConsumerRequirement, ...]
    features: tuple[ServerFeature, ...]


def plan(requirements: Iterable[Requirement]) -> Plan:
    """Return what must exist.

    Raises:
        ConfigurationError: two surfaces require one stream or consumer in different ways.
    """
    streams: dict[str, StreamRequirement] = {}
    consumers: dict[str, ConsumerRequirement] = {}
    features: dict[ServerFeature, None] = {}
    for requirement in requirements:
        match requirement:
            case StreamRequirement():
                _add(streams, requirement.title, requirement)
            case BucketRequirement() | StoreRequirement():
                _add(streams, requirement.stream.title, requirement.stream)
            case ConsumerRequirement():
                _add(consumers, requirement.title, requirement)
            case ServerFeature():
                features[requirement] = None
    return Plan(tuple(streams.values()), tuple(consumers.values()), tuple(features))


def stream_config(
    stream: StreamRequirement,
    *,
    replicas: int,
    has_batches: bool,
    max_bytes: int | None = None,
    contract: Contract | None = None,
) -> dict[str, JsonValue]:
    """Return the configuration to create a stream with. Servers without atomic batches refuse the field.

    With `max_bytes`, a stream that must not lose anything refuses new messages when it is full. With a `contract`, what
    belongs to one service is marked with it.
    """
    config: dict[str, JsonValue] = {"name": stream.name, **stream.config, "num_replicas": replicas}
    if stream.has_batches and has_batches:
        config["allow_atomic"] = True
    if max_bytes is not None and "max_bytes" not in config:
        config["max_bytes"] = max_bytes
        if stream.is_lossless:
            config["discard"] = "new"
    if contract is not None and stream.tolerated:
        config["metadata"] = stamp({}, contract, now())
    return config


def consumer_config(consumer: ConsumerRequirement, contract: Contract | None = None) -> dict[str, JsonValue]:
    """Return the configuration to create a consumer with. With a `contract`, it is marked with it."""
    marks: dict[str, JsonValue] = {} if contract is None else {"metadata": stamp({}, contract, now())}
    return {"durable_name": consumer.name, **consumer.config, **marks}


def _add(planned: dict[str, RequirementT], what: str, requirement: RequirementT) -> None:
    """Add a requirement. What one surface can do without, and another cannot, is required."""
    known = planned.get(what, requirement)
    if replace(known, is_optional=requirement.is_optional) != requirement:
        raise ConfigurationError(f"two surfaces require {what} with different settings")
    planned[what] = requirement if known.is_optional else known
