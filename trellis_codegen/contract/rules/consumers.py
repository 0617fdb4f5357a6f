"""The rules of event consumer groups: each receives an event, and every event exists."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_codegen.contract.exchange import Use
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.queues import EventConsumer
from trellis_codegen.problems import Pointer, Problem, did_you_mean
from trellis_codegen.rule_ids import Rule

__all__ = ["check_consumers"]


def check_consumers(manifest: Manifest) -> Iterator[Problem]:
    """A group names at least one event; each is the contract's own, or subscribed to through `uses`."""
    required = (manifest.uses.required if manifest.uses else None) or {}
    optional = (manifest.uses.optional if manifest.uses else None) or {}
    for name, group in (manifest.event_consumers or {}).items():
        pointer: Pointer = ("eventConsumers", name)
        if not group.uses and not group.self_events:
            yield Problem(
                pointer=pointer,
                rule=Rule.EMPTY_CONSUMER,
                what='must name an event in "uses" or in "self"',
                on_key=True,
            )
        if (group.concurrency or 1) > 1:
            what = f"ordered events are processed one at a time, so concurrency must be 1, got {group.concurrency}"
            yield Problem(pointer=(*pointer, "concurrency"), rule=Rule.ORDERED_CONCURRENCY, what=what)
        yield from _check_own_events(group, manifest, pointer)
        yield from _check_used_events(group, required, optional, pointer)


def _check_own_events(group: EventConsumer, manifest: Manifest, pointer: Pointer) -> Iterator[Problem]:
    known = manifest.events or {}
    for index, event in enumerate(group.self_events or []):
        if event not in known:
            what = f'this contract has no event "{event}"'
            yield Problem(
                pointer=(*pointer, "self", index),
                rule=Rule.UNKNOWN_EVENT,
                what=what,
                hint=did_you_mean(event, known),
            )


def _check_used_events(
    group: EventConsumer, required: dict[str, Use], optional: dict[str, Use], pointer: Pointer
) -> Iterator[Problem]:
    uses = {**optional, **required}
    for alias, events in (group.uses or {}).items():
        place: Pointer = (*pointer, "uses", alias)
        if alias not in uses:
            what = f'no contract is used as "{alias}"'
            yield Problem(
                pointer=place, rule=Rule.UNKNOWN_ALIAS, what=what, hint=did_you_mean(alias, uses), on_key=True
            )
            continue
        selection = uses[alias].events
        known = (selection.subscribe if selection else None) or []
        for index, event in enumerate(events):
            if event not in known:
                listed = f"uses/{'required' if alias in required else 'optional'}/{alias}/events/subscribe"
                hint = did_you_mean(event, known) or f'add "{event}" to {listed}'
                yield Problem(
                    pointer=(*place, index),
                    rule=Rule.UNLISTED_EVENT,
                    what=f'"{event}" is not listed in {listed}',
                    hint=hint,
                )
