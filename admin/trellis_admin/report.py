"""Shows plans and what was applied, for people and as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final

from trellis_nats.provision import Applied, Change, Creation, Refusal, Setting, Update

from trellis_admin.provisioning import ServicePlan

__all__ = ["to_json", "to_text"]

_INDENT: Final = "    "


def to_text(plans: Sequence[ServicePlan]) -> str:
    """Return plans for people: a line for each resource, and two for each setting."""
    return "\n".join(line for planned in plans for line in _lines(planned))


def to_json(plans: Sequence[ServicePlan]) -> str:
    """Return plans as one JSON object."""
    return json.dumps({"contracts": [_object(planned) for planned in plans]}, indent=2)


def _lines(planned: ServicePlan) -> Iterator[str]:
    contract = planned.contract
    yield f"{contract.id} (digest {contract.digest})"
    for change, applied in zip_longest(planned.changes, planned.applied or ()):
        yield from _change_lines(change, applied)
    for queue in planned.removed_queues:
        yield f"  ? queue {queue.name} is not in the contract and holds {queue.waiting} waiting jobs"
        yield f"{_INDENT}{queue.remedy}"
    yield _summary(planned)


def _change_lines(change: Change, applied: Applied | None) -> Iterator[str]:
    outcome = "" if applied is None else ": done" if applied.done else f": not done: {applied.reason}"
    match change:
        case Creation():
            yield f"  + {change.title} does not exist{outcome}"
        case Refusal():
            yield f"  x {change.title} cannot be used or changed{outcome}"
            if applied is None:
                yield from (f"{_INDENT}{problem}" for problem in change.problems)
        case Update(settings=()):
            yield f"  = {change.title} is as the contract states; this version is recorded{outcome}"
        case Update():
            yield f"  ~ {change.title}{outcome}"
            if change.relation == "older":
                yield f"{_INDENT}a newer version of the contract set it: this goes back"
            for setting in change.settings:
                yield f"{_INDENT}{setting.name}: {setting.have} → {setting.want}{_condition(setting)}"
                yield f"{_INDENT}  {setting.effect}"


def _condition(setting: Setting) -> str:
    if setting.is_fixed:
        return " (cannot be changed)"
    return " (needs --allow-destroy)" if setting.is_destructive else ""


def _summary(planned: ServicePlan) -> str:
    if planned.applied is not None:
        left = sum(not applied.done for applied in planned.applied)
        return f"  {len(planned.applied) - left} applied, {left} not"
    created = sum(isinstance(change, Creation) for change in planned.changes)
    updated = sum(isinstance(change, Update) and bool(change.settings) for change in planned.changes)
    refused = sum(isinstance(change, Refusal) for change in planned.changes)
    if planned.is_done:
        return "  the server has what the contract states"
    return f"  {created} to create, {updated} to change, {refused} that cannot be used or changed"


def _object(planned: ServicePlan) -> dict[str, object]:
    return {
        "id": planned.contract.id,
        "digest": planned.contract.digest,
        "done": planned.is_done,
        "changes": [
            _change_object(change, applied)
            for change, applied in zip_longest(planned.changes, planned.applied or ())
        ],
        "removedQueues": [
            {"name": queue.name, "waiting": queue.waiting, "remedy": queue.remedy}
            for queue in planned.removed_queues
        ],
    }


def _change_object(change: Change, applied: Applied | None) -> dict[str, object]:
    shown: dict[str, object] = {"resource": change.title}
    match change:
        case Creation():
            shown["kind"] = "create"
        case Refusal():
            shown |= {"kind": "refuse", "problems": [*change.problems]}
        case Update():
            shown |= {
                "kind": "update" if change.settings else "record",
                "relation": change.relation,
                "settings": [
                    {
                        "name": setting.name,
                        "have": setting.have,
                        "want": setting.want,
                        "effect": setting.effect,
                        "destructive": setting.is_destructive,
                        "fixed": setting.is_fixed,
                    }
                    for setting in change.settings
                ],
            }
    if applied is not None:
        shown |= {"done": applied.done, "reason": applied.reason}
    return shown
