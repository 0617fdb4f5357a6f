"""What it needs to make and to verify streams, consumers and buckets. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_nats.grants import Grant, api
from trellis_nats.provision.plan import Plan

__all__ = ["provisioning", "verifying"]


def verifying(wanted: Plan) -> Iterator[Grant]:
    """Look at what exists."""
    for stream in wanted.streams:
        yield api(f"STREAM.INFO.{stream.name}", f"verify stream {stream.name}", is_needed=False)
    for consumer in wanted.consumers:
        yield api(
            f"CONSUMER.INFO.{consumer.stream}.{consumer.name}",
            f"verify consumer {consumer.name}",
            is_needed=False,
        )


def provisioning(wanted: Plan) -> Iterator[Grant]:
    """Make what is missing. Nothing that exists is ever altered or deleted."""
    for stream in wanted.streams:
        yield api(f"STREAM.CREATE.{stream.name}", f"create stream {stream.name}", is_needed=False)
    for consumer in wanted.consumers:
        subject = consumer.config["filter_subject"]
        yield api(
            f"CONSUMER.CREATE.{consumer.stream}.{consumer.name}.{subject}",
            f"create consumer {consumer.name}",
            is_needed=False,
        )
