"""The surface of a bucket: its name, its stream, and the permissions to use it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from typing_extensions import override

from trellis_nats.binding import Binding, BucketBinding
from trellis_nats.clock import from_milliseconds, to_milliseconds
from trellis_nats.grants import Grant, Role, StartCheck
from trellis_nats.ids import require_token
from trellis_nats.kv.grants import bucket_grants
from trellis_nats.provision.requirements import BucketRequirement
from trellis_nats.specs import BucketSpec
from trellis_nats.surface import Surface

__all__ = ["BucketSurface"]


@dataclass(frozen=True)
class BucketSurface(Surface):
    """One bucket of a service."""

    spec: BucketSpec

    @override
    def local_binding(self, service: str) -> Binding:
        """Return the name and the numbers of the bucket."""
        spec = self.spec
        bound = BucketBinding(
            bucket=f"{service}_{require_token('bucket', spec.name)}",
            history=spec.history,
            ttl_ms=0 if spec.ttl is None else to_milliseconds(spec.ttl),
            max_value_bytes=spec.max_value_bytes,
        )
        return Binding(kv={spec.name: bound})

    @override
    def requirements(self, binding: Binding) -> Iterator[BucketRequirement]:
        """Return the bucket."""
        bound = binding.kv.get(self.spec.name)
        if bound is not None:
            yield BucketRequirement(
                bucket=bound.bucket,
                history=bound.history,
                ttl=from_milliseconds(bound.ttl_ms),
                max_value_bytes=bound.max_value_bytes,
            )

    @override
    def grants(self, binding: Binding, role: Role) -> Iterator[Grant]:
        """Return what a worker needs; the start does not require it where the contract does not require the bucket."""
        bound = binding.kv.get(self.spec.name)
        if bound is not None and role == "worker":
            at_start = StartCheck.REQUIRED if self.spec.required else StartCheck.OPTIONAL
            yield from bucket_grants(bound, at_start=at_start)
