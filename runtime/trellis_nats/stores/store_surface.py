"""The surface of an object store: its name, its stream, and the permissions to use it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from typing_extensions import override

from trellis_nats.binding import Binding, StoreBinding
from trellis_nats.clock import from_milliseconds, to_milliseconds
from trellis_nats.grants import Grant, Role, StartCheck
from trellis_nats.ids import require_token
from trellis_nats.provision.requirements import StoreRequirement
from trellis_nats.specs import StoreSpec
from trellis_nats.stores.grants import store_grants
from trellis_nats.surface import Surface

__all__ = ["StoreSurface"]


@dataclass(frozen=True)
class StoreSurface(Surface):
    """One object store of a service."""

    spec: StoreSpec

    @override
    def local_binding(self, service: str) -> Binding:
        """Return the name and the numbers of the store."""
        spec = self.spec
        bound = StoreBinding(
            name=f"{service}_{require_token('store', spec.name)}",
            ttl_ms=0 if spec.ttl is None else to_milliseconds(spec.ttl),
            max_object_bytes=spec.max_object_bytes,
            max_total_bytes=spec.max_total_bytes,
        )
        return Binding(store={spec.name: bound})

    @override
    def requirements(self, binding: Binding) -> Iterator[StoreRequirement]:
        """Return the store."""
        bound = binding.store.get(self.spec.name)
        if bound is not None:
            yield StoreRequirement(
                store=bound.name,
                ttl=from_milliseconds(bound.ttl_ms),
                max_total_bytes=bound.max_total_bytes,
            )

    @override
    def grants(self, binding: Binding, role: Role) -> Iterator[Grant]:
        """Return what a worker needs; the start does not require it where the contract does not require the store."""
        bound = binding.store.get(self.spec.name)
        if bound is not None and role == "worker":
            at_start = StartCheck.REQUIRED if self.spec.required else StartCheck.OPTIONAL
            yield from store_grants(bound, at_start=at_start)
