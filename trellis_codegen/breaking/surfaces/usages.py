"""Which surfaces use which schemas, in both contracts. A surface of one contract alone is a matter of the contract rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trellis_codegen.breaking.rules.grades import SURFACES, SurfaceKind
from trellis_codegen.breaking.surfaces.changes import list_common
from trellis_codegen.breaking.surfaces.resources import STATE_VERSION
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.parts import SchemaRef
from trellis_codegen.contract.resources import State

__all__ = ["Usage", "list_usages"]


@dataclass(frozen=True, slots=True)
class Usage:
    """One use of a schema, before and after."""

    kind: SurfaceKind
    surface: str
    """In words: `job queue reserve-inventory, payload`."""
    old: str | None
    """The name of the schema; None for any JSON."""
    new: str | None
    is_read_only: bool = False
    """Whether new values are never read as the old ones: they have another version."""


def list_usages(old: Manifest, new: Manifest) -> Iterator[Usage]:
    """Yield the uses of schemas that both contracts have."""
    yield from _list_jobs(old, new)
    yield from _list_calls(old, new)
    for name, event, other_event in list_common(old.events, new.events):
        yield from _use("EVENT", f"event {name}", event.event, other_event.event)
    for name, feed, other_feed in list_common(old.feeds, new.feeds):
        yield from _use("FEED_INPUT", f"feed {name}, input", feed.input, other_feed.input)
        yield from _use("FEED_EVENT", f"feed {name}, event", feed.event, other_feed.event)
    for name, error, other_error in list_common(old.errors, new.errors):
        yield from _use("ERROR_DATA", f"error {name}", error.schema_ref, other_error.schema_ref)
    yield from _list_buckets(old, new)
    for name, state, other_state in list_common(old.state, new.state):
        yield from _use_state(f"state {name}", state, other_state)


def _use(prefix: str, surface: str, old: SchemaRef | None, new: SchemaRef | None) -> Iterator[Usage]:
    if old is not None and new is not None:
        yield Usage(SURFACES[prefix], surface, old.schema_name, new.schema_name)


def _list_jobs(old: Manifest, new: Manifest) -> Iterator[Usage]:
    for name, before, after in list_common(old.jobs, new.jobs):
        surface = f"job queue {name}"
        yield from _use("JOB_PAYLOAD", f"{surface}, payload", before.payload, after.payload)
        yield from _use("JOB_RESULT", f"{surface}, result", before.result, after.result)
        yield from _use("JOB_UPDATE", f"{surface}, update", before.update, after.update)


def _list_calls(old: Manifest, new: Manifest) -> Iterator[Usage]:
    for name, rpc, other_rpc in list_common(old.rpc, new.rpc):
        yield from _use("RPC_INPUT", f"RPC {name}, input", rpc.input, other_rpc.input)
        yield from _use("RPC_OUTPUT", f"RPC {name}, output", rpc.output, other_rpc.output)
    for name, before, after in list_common(old.operations, new.operations):
        surface = f"operation {name}"
        yield from _use("OPERATION_INPUT", f"{surface}, input", before.input, after.input)
        yield from _use("OPERATION_OUTPUT", f"{surface}, output", before.output, after.output)
        yield from _use("OPERATION_PROGRESS", f"{surface}, progress", before.progress, after.progress)
        for signal, one, other in list_common(before.signals, after.signals):
            yield from _use("SIGNAL_INPUT", f"{surface}, signal {signal}", one.input, other.input)


def _list_buckets(old: Manifest, new: Manifest) -> Iterator[Usage]:
    before = (old.resources.kv if old.resources else None) or {}
    after = (new.resources.kv if new.resources else None) or {}
    for name, one, other in list_common(before, after):
        yield Usage(
            SURFACES["KV_VALUE"],
            f"bucket {name}",
            one.schema_ref.schema_name if one.schema_ref else None,
            other.schema_ref.schema_name if other.schema_ref else None,
        )


def _use_state(surface: str, old: State, new: State) -> Iterator[Usage]:
    """Compare entries with the schema that reads them: of an older version, the accepted one."""
    before, after = old.state_version or STATE_VERSION, new.state_version or STATE_VERSION
    kind, accepted = SURFACES["STATE_VALUE"], new.accepted_versions or {}
    if before == after:
        yield from _use(kind.prefix, surface, old.schema_ref, new.schema_ref)
    elif before in accepted:
        name = accepted[before].schema_name
        yield Usage(kind, f"{surface}, version {before}", old.schema_ref.schema_name, name, is_read_only=True)
    for version, reference in (old.accepted_versions or {}).items():
        reader = new.schema_ref if version == after else accepted.get(version)
        if reader is not None and version != before:
            yield Usage(
                kind,
                f"{surface}, version {version}",
                reference.schema_name,
                reader.schema_name,
                is_read_only=True,
            )
