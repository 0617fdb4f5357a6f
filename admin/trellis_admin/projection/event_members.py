"""Reads the members of events that any runtime, or any client, may have written in any form. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from pydantic import JsonValue
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType

from trellis_admin.projection.incoming import JobPlace

__all__ = [
    "Action",
    "clean_text",
    "error_type_of",
    "is_of",
    "read_action",
    "read_lineage",
    "read_trigger",
    "read_worker",
]

_TEXT_MAX: Final = 200


class Action(NamedTuple):
    """What an operator did, as the event says."""

    actor: str | None
    reason: str | None
    source: str | None
    bulk: str | None


def clean_text(text: str, longest: int = _TEXT_MAX) -> str:
    """Return the beginning of a text without lone surrogates, which SQLite cannot store."""
    cut = text[:longest]
    return cut if cut.isascii() else cut.encode(errors="replace").decode()


def is_of(event: LifecycleEvent, place: JobPlace) -> bool:
    """Return whether an event is of the job, and of the type, that its subject says."""
    is_checkpoint = place.kind == EventType.CHECKPOINT and event.event_type == EventType.LOGGED
    return event.job_id == place.id and (event.event_type == place.kind or is_checkpoint)


def read_action(event: LifecycleEvent) -> Action | None:
    """Return what an operator did; None for an event that no operator caused."""
    action = event.admin_action
    if not isinstance(action, dict):
        return None
    reason = action.get("reason")
    return Action(
        actor=_text(action, "actor"),
        reason=reason if isinstance(reason, str) else None,
        source=_text(action, "source"),
        bulk=_text(action, "bulkId"),
    )


def read_lineage(event: LifecycleEvent) -> tuple[str | None, str | None]:
    """Return the parent of a job and the first job of its family."""
    parent, root = _text(event.lineage, "parentJobId"), _text(event.lineage, "rootJobId")
    parent = parent or _text(event.trigger, "parentJobId")
    return parent, root or parent


def read_trigger(event: LifecycleEvent) -> str | None:
    """Return why the job exists, or began again."""
    return _text(event.trigger, "kind")


def read_worker(event: LifecycleEvent) -> str | None:
    """Return the process that began an attempt. Other runtimes name it only for the slot of a key."""
    return clean_text(event.instance_id or "") or _text(event.concurrency, "instanceId")


def error_type_of(event: LifecycleEvent) -> str | None:
    """Return the type of an error where its detail names it."""
    return _text(event.error_detail, "type")


def _text(value: JsonValue, name: str) -> str | None:
    found = value.get(name) if isinstance(value, dict) else None
    return clean_text(found) or None if isinstance(found, str) else None
