"""Changes of buckets, object stores and state stores outside of schemas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from trellis_codegen.breaking.rules.grades import Column
from trellis_codegen.breaking.surfaces.changes import ContractChange, find_added, find_removed, list_common
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.resources import KvResource, State, StoreResource
from trellis_codegen.problems import Pointer

__all__ = ["STATE_VERSION", "find_bucket_changes", "find_state_changes", "find_store_changes"]

STATE_VERSION = "v1"
"""The version of a state store that states none."""
_HISTORY = 1
_UNLIMITED = float("inf")


def find_bucket_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield the changes of all buckets."""
    before = (old.resources.kv if old.resources else None) or {}
    after = (new.resources.kv if new.resources else None) or {}
    section = ("resources", "kv")
    yield from find_removed("KV_REMOVED", before, after, section, "bucket")
    yield from find_added(before, after, section, "bucket")
    for name, one, other in list_common(before, after):
        surface, place = f"bucket {name}", (*section, name)
        if (one.history or _HISTORY) > (other.history or _HISTORY):
            words = {"old": str(one.history or _HISTORY), "new": str(other.history or _HISTORY)}
            yield _change("KV_HISTORY_LOWERED", surface, (*place, "history"), words)
        yield from _find_lower_ttl("KV_TTL_LOWERED", one, other, place, surface)
        if _is_lower(one.max_value_bytes, other.max_value_bytes):
            words = {"new": str(other.max_value_bytes)}
            yield _change("KV_MAX_VALUE_LOWERED", surface, (*place, "maxValueBytes"), words)
        yield from _find_required(one, other, place, surface)
        raised = [
            field
            for field, is_raised in (
                ("history", (one.history or _HISTORY) < (other.history or _HISTORY)),
                ("ttlMs", _is_lower(other.ttl_ms or None, one.ttl_ms or None)),
                ("maxValueBytes", _is_lower(other.max_value_bytes, one.max_value_bytes)),
            )
            if is_raised
        ]
        if raised:
            yield _change("KV_LIMIT_RAISED", surface, (*place, raised[0]), {"name": ", ".join(raised)})


def find_store_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield the changes of all object stores."""
    before = (old.resources.store if old.resources else None) or {}
    after = (new.resources.store if new.resources else None) or {}
    section = ("resources", "store")
    yield from find_removed("STORE_REMOVED", before, after, section, "store")
    yield from find_added(before, after, section, "store")
    for name, one, other in list_common(before, after):
        surface, place = f"store {name}", (*section, name)
        yield from _find_lower_ttl("STORE_TTL_LOWERED", one, other, place, surface)
        for field, limit, other_limit in (
            ("maxObjectBytes", one.max_object_bytes, other.max_object_bytes),
            ("maxTotalBytes", one.max_total_bytes, other.max_total_bytes),
        ):
            if _is_lower(limit, other_limit):
                words = {"name": field, "new": str(other_limit)}
                change = _change("STORE_LIMIT_LOWERED", surface, (*place, field), words)
                # The server limits the store for every process, and each process the objects that it writes.
                is_shared = field == "maxTotalBytes"
                columns = (Column.PRODUCERS, Column.STORED) if is_shared else (Column.STORED,)
                yield replace(change, columns=columns)
        yield from _find_required(one, other, place, surface)


def find_state_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield the changes of all state stores."""
    yield from find_removed("STATE_REMOVED", old.state, new.state, ("state",), "state")
    yield from find_added(old.state, new.state, ("state",), "state")
    for name, one, other in list_common(old.state, new.state):
        surface, place = f"state {name}", ("state", name)
        if one.kind != other.kind:
            words: dict[str, str] = {"old": one.kind, "new": other.kind}
            yield _change("STATE_KIND_CHANGED", surface, (*place, "kind"), words)
        yield from _find_versions(one, other, place, surface)


def _find_versions(old: State, new: State, place: Pointer, surface: str) -> Iterator[ContractChange]:
    before, after = old.state_version or STATE_VERSION, new.state_version or STATE_VERSION
    accepted = new.accepted_versions or {}
    if before != after and before not in accepted:
        words = {"old": before, "new": after}
        yield _change("STATE_VERSION_NOT_ACCEPTED", surface, (*place, "stateVersion"), words)
    for version in old.accepted_versions or {}:
        if version not in accepted and version != after:
            yield ContractChange(
                rule="STATE_ACCEPTED_REMOVED",
                surface=surface,
                old=(*place, "acceptedVersions", version),
                words={"name": version},
            )


def _change(rule: str, surface: str, place: Pointer, words: dict[str, str]) -> ContractChange:
    return ContractChange(rule=rule, surface=surface, old=place, new=place, words=words)


def _find_lower_ttl(
    rule: str, old: KvResource | StoreResource, new: KvResource | StoreResource, place: Pointer, surface: str
) -> Iterator[ContractChange]:
    if _is_lower(old.ttl_ms or None, new.ttl_ms or None):
        words = {"old": str(old.ttl_ms or "none"), "new": str(new.ttl_ms)}
        yield _change(rule, surface, (*place, "ttlMs"), words)


def _find_required(
    old: KvResource | StoreResource, new: KvResource | StoreResource, place: Pointer, surface: str
) -> Iterator[ContractChange]:
    if old.required is False and new.required is not False:
        yield _change("KV_BECAME_REQUIRED", surface, (*place, "required"), {})


def _is_lower(old: int | None, new: int | None) -> bool:
    """Return whether a limit is lower; without a number it is unlimited."""
    return (_UNLIMITED if new is None else new) < (_UNLIMITED if old is None else old)
