"""What the kind of a contract decides: a service owns surfaces; an app, a device and an agent have state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.problems import Pointer, Problem
from trellis_codegen.rule_ids import Rule

__all__ = ["find_misplaced_surfaces", "has_heartbeats", "is_service"]

_HEARTBEAT = ("trellis.health@v1", "Health.Heartbeat")


def is_service(manifest: Manifest) -> bool:
    """Return whether the contract is that of a service; an app, a device and an agent are clients only."""
    return manifest.kind == "service"


def has_heartbeats(manifest: Manifest) -> bool:
    """Return whether the contract uses `Health.Heartbeat`. The event has no place for an app or an agent."""
    contract_id, event = _HEARTBEAT
    required, optional = (manifest.uses.required, manifest.uses.optional) if manifest.uses else (None, None)
    return manifest.kind in {"service", "device"} and any(
        use.contract == contract_id and event in ((use.events.publish if use.events else None) or [])
        for use in [*(required or {}).values(), *(optional or {}).values()]
    )


def find_misplaced_surfaces(manifest: Manifest) -> Iterator[Problem]:
    """Yield an error for each surface that only a service can have."""
    if is_service(manifest):
        return
    article = "an" if manifest.kind in {"app", "agent"} else "a"
    for pointer, words in _owned(manifest):
        yield Problem(
            pointer=pointer,
            rule=Rule.MISPLACED_SURFACE,
            what=f"{article} {manifest.kind} cannot have {words}: only a service can",
            hint='move it to the contract of a service, or write "kind": "service"',
            on_key=True,
        )


def _owned(manifest: Manifest) -> Iterator[tuple[Pointer, str]]:
    resources = manifest.resources
    sections: list[tuple[Pointer, Iterable[str] | None, str]] = [
        (("rpc",), manifest.rpc, "RPCs"),
        (("operations",), manifest.operations, "operations"),
        (("events",), manifest.events, "events of its own"),
        (("feeds",), manifest.feeds, "feeds"),
        (("jobs",), manifest.jobs, "job queues"),
        (("eventConsumers",), manifest.event_consumers, "event consumer groups"),
        (("resources", "kv"), resources.kv if resources else None, "buckets"),
        (("resources", "store"), resources.store if resources else None, "stores"),
    ]
    for pointer, names, words in sections:
        for name in names or ():
            yield (*pointer, name), words
