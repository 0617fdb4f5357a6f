"""Changes of events and of their consumer groups outside of schemas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from trellis_codegen.breaking.rules.grades import Column
from trellis_codegen.breaking.surfaces.calls import find_subject_change
from trellis_codegen.breaking.surfaces.changes import (
    ContractChange,
    find_added,
    find_added_rights,
    find_removed,
    find_removed_rights,
    list_common,
)
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.queues import EventConsumer

__all__ = ["find_event_changes", "find_group_changes"]

_REPLAY = "new"


def find_event_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield the changes of all events."""
    yield from find_removed("EVENT_REMOVED", old.events, new.events, ("events",), "event")
    yield from find_added(old.events, new.events, ("events",), "event")
    for name, before, after in list_common(old.events, new.events):
        surface, place = f"event {name}", ("events", name)
        # The consumer of a group listens at the old subject: a group of the new version does not start with it.
        is_grouped = any(name in (group.self_events or []) for group in (new.event_consumers or {}).values())
        columns = (Column.LISTENERS, Column.OPERATORS) if is_grouped else (Column.LISTENERS,)
        for change in find_subject_change("EVENT_SUBJECT_CHANGED", before, after, place, surface):
            yield replace(change, columns=columns)
        if (before.params or []) != (after.params or []):
            words = {"old": " ".join(before.params or []), "new": " ".join(after.params or [])}
            inner = (*place, "params")
            yield ContractChange(
                rule="EVENT_PARAMS_CHANGED",
                surface=surface,
                old=inner,
                new=inner,
                words=words,
                columns=columns,
            )
        one = before.capabilities.model_dump() if before.capabilities else {}
        other = after.capabilities.model_dump() if after.capabilities else {}
        for role in ("publish", "subscribe"):
            rights = one.get(role), other.get(role)
            demand = (*place, "capabilities", role)
            yield from find_added_rights(f"{role.upper()}_CAPABILITY_ADDED", *rights, demand, surface)
            yield from find_removed_rights(*rights, demand, surface)


def find_group_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield the changes of all consumer groups."""
    renamed = _find_renamed(old, new)
    for name in old.event_consumers or {}:
        if name in (new.event_consumers or {}):
            continue
        twin = renamed.get(name)
        yield ContractChange(
            rule="GROUP_RENAMED" if twin else "GROUP_REMOVED",
            surface=f"event group {name}",
            old=("eventConsumers", name),
            new=("eventConsumers", twin) if twin else None,
            words={"old": name, "new": twin or ""},
        )
    added = {
        name: group for name, group in (new.event_consumers or {}).items() if name not in renamed.values()
    }
    yield from find_added(old.event_consumers, added, ("eventConsumers",), "event group")
    for name, before, after in list_common(old.event_consumers, new.event_consumers):
        surface, place = f"event group {name}", ("eventConsumers", name)
        events, others = _list_events(before), _list_events(after)
        for rule, names in (("GROUP_EVENT_ADDED", others - events), ("GROUP_EVENT_REMOVED", events - others)):
            for event in sorted(names):
                yield ContractChange(rule=rule, surface=surface, old=place, new=place, words={"name": event})
        replay, other_replay = before.replay or _REPLAY, after.replay or _REPLAY
        if replay != other_replay:
            inner = (*place, "replay")
            words = {"old": replay, "new": other_replay}
            yield ContractChange(
                rule="GROUP_REPLAY_CHANGED", surface=surface, old=inner, new=inner, words=words
            )


def _find_renamed(old: Manifest, new: Manifest) -> dict[str, str]:
    """Return the groups that went with those that came, of the same events."""
    before, after = old.event_consumers or {}, new.event_consumers or {}
    added = [name for name in after if name not in before]
    found: dict[str, str] = {}
    for name, group in before.items():
        twin = next((other for other in added if _list_events(after[other]) == _list_events(group)), None)
        if name not in after and twin is not None:
            found[name] = twin
            added.remove(twin)
    return found


def _list_events(group: EventConsumer) -> set[str]:
    used = {f"{alias}/{event}" for alias, events in (group.uses or {}).items() for event in events}
    return used | {*(group.self_events or [])}
