"""The permissions that events need on the server. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_nats.grants import Grant, Probe, StartCheck, publish, subscribe
from trellis_nats.specs import EventSpec

__all__ = ["publish_grants", "subscribe_grants"]


def publish_grants(event: EventSpec, at_start: StartCheck) -> Iterator[Grant]:
    """To publish an event."""
    yield publish(event.filter, f"publish event {event.name}", probe=Probe.TRACE_ONLY, at_start=at_start)


def subscribe_grants(event: EventSpec) -> Iterator[Grant]:
    """To subscribe to an event. The start does not check it: a denied subscription raises its own error."""
    yield subscribe(event.filter, f"subscribe to event {event.name}", at_start=StartCheck.OPTIONAL)
