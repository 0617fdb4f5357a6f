"""Object stores: the name and the numbers of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trellis_codegen import naming
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.resources import StoreResource
from trellis_codegen.plan.collisions import Claim
from trellis_codegen.plan.grouping import Member
from trellis_codegen.plan.wording import Argument, describe, describe_duration, write_duration

__all__ = ["StorePlan", "claim_store_names", "plan_stores"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StorePlan:
    """One store."""

    spec: tuple[Argument, ...]
    docstring: str


def claim_store_names(manifest: Manifest) -> Iterator[Claim]:
    """Yield the Python names that the stores need."""
    for name in _stores(manifest):
        yield Claim(f"stores.{naming.attribute(name)}", ("resources", "store", name))


def plan_stores(manifest: Manifest) -> tuple[Member[StorePlan], ...]:
    """Plan the stores, in the contract's order."""
    return tuple(
        Member(
            name=name,
            attribute=naming.attribute(name),
            constant=naming.constant(name),
            plan=_store(name, store),
        )
        for name, store in _stores(manifest).items()
    )


def _stores(manifest: Manifest) -> Mapping[str, StoreResource]:
    return (manifest.resources.store if manifest.resources else None) or {}


def _store(name: str, store: StoreResource) -> StorePlan:
    spec = [Argument(name="name", value=repr(name))]
    if store.required is not None:
        spec.append(Argument(name="required", value=str(store.required)))
    if store.ttl_ms:
        spec.append(write_duration("ttl", store.ttl_ms))
    if store.max_object_bytes is not None:
        spec.append(Argument(name="max_object_bytes", value=str(store.max_object_bytes)))
    if store.max_total_bytes is not None:
        spec.append(Argument(name="max_total_bytes", value=str(store.max_total_bytes)))
    return StorePlan(spec=tuple(spec), docstring=describe(store.docs, store.purpose, *_numbers(store)))


def _numbers(store: StoreResource) -> Iterator[str]:
    """Describe what the numbers of the store mean for an object."""
    if store.ttl_ms:
        yield f"An object expires {describe_duration(store.ttl_ms)} after it is stored."
    if store.max_object_bytes is not None:
        yield f"An object has at most {store.max_object_bytes:,} bytes."
    if store.max_total_bytes is not None:
        yield f"All objects together have at most {store.max_total_bytes:,} bytes."
