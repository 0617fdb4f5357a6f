"""What a comparison reports, and the messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from trellis_codegen.breaking.rules.contract_rules import CONTRACT_RULES
from trellis_codegen.breaking.rules.grades import (
    Column,
    Deploy,
    Direction,
    Grade,
    Hit,
    describe_columns,
    sort_columns,
)
from trellis_codegen.breaking.rules.rule import REMEDIES, Remedy
from trellis_codegen.breaking.rules.schema_rules import SCHEMA_RULES
from trellis_codegen.breaking.schemas.changes import Answer, SchemaChange
from trellis_codegen.breaking.surfaces.changes import ContractChange
from trellis_codegen.breaking.surfaces.usages import Usage
from trellis_codegen.problems import Pointer

__all__ = ["Finding", "Ignored", "make_contract_finding", "make_schema_finding"]

_UNKNOWN: Final = {
    "type": "something",
    "part": "some value",
    "pattern": "the pattern",
    "format": "format",
    "keyword": "a keyword",
    "reason": "no reason is known",
    "old": "other",
    "new": "other",
}


@dataclass(frozen=True, slots=True)
class Ignored:
    """Why a finding does not count."""

    reason: str
    until: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One change, for one surface."""

    rule: str
    grade: Grade
    decided: bool = True
    """Whether a value shows it, or it needs none; False: it counts as if it were proven."""
    columns: tuple[Column, ...]
    direction: Direction | None = None
    surface: str
    pointer: Pointer | None
    """The place in the new contract; None if it is gone."""
    old_pointer: Pointer | None
    path: str | None = None
    """The place in the values of the surface."""
    message: str
    witnesses: tuple[tuple[Direction, JsonValue], ...] = field(default=())
    """For each direction in which it fails, a value that one side writes and the other refuses."""
    reason: str | None = None
    """Why it is not decided."""
    remedy: tuple[str, ...]
    has_upcast: bool = False
    """Whether an upcaster of the new version is another remedy."""
    ignored: Ignored | None = None


def make_contract_finding(change: ContractChange, deploy: Deploy) -> Finding:
    """Return the finding for a change outside of schemas."""
    rule = CONTRACT_RULES[change.rule]
    grade = change.grade or rule.grade
    if rule.only_during_deploy and deploy is Deploy.STOP:
        grade = Grade.SAFE
    columns = rule.columns if change.columns is None else change.columns
    return Finding(
        rule=rule.id,
        grade=grade,
        columns=() if grade is Grade.SAFE else sort_columns(columns),
        surface=change.surface,
        pointer=change.new,
        old_pointer=change.old,
        message=rule.message.format_map({**_UNKNOWN, "name": "it", **change.words}),
        remedy=() if grade is Grade.SAFE else REMEDIES[rule.remedy],
    )


def make_schema_finding(change: SchemaChange, usage: Usage, deploy: Deploy) -> Finding:
    """Return the finding for a change of a schema that a surface uses."""
    rule = SCHEMA_RULES[change.rule]
    failing = [
        (direction, answer, hit)
        for direction, answer, hit in (
            (Direction.FORWARD, change.forward, usage.kind.forward),
            (Direction.BACKWARD, None if usage.is_read_only else change.backward, usage.kind.backward),
        )
        if answer is not None
    ]
    grade, columns = _find_grade(change, failing, deploy)
    answers = [answer for _, answer, _ in failing]
    reason = next((answer.reason for answer in answers if answer.reason is not None), None)
    decided = change.is_risky or not answers or any(answer.witness is not None for answer in answers)
    return Finding(
        rule=f"{usage.kind.prefix}_{rule.id}",
        grade=grade,
        decided=decided,
        columns=columns,
        direction=_find_direction([direction for direction, _, _ in failing]),
        surface=usage.surface,
        pointer=_find_place(usage.new, change.new_place),
        old_pointer=_find_place(usage.old, change.old_place),
        path=change.path,
        message=_write_message(rule.id, rule.message, change, columns, grade),
        witnesses=tuple(
            (direction, answer.witness.value)
            for direction, answer, _ in failing
            if answer.witness is not None
        ),
        reason=None if decided else reason,
        remedy=_find_remedy(rule.remedy, usage, grade),
        has_upcast=usage.kind.has_upcasters
        and (
            (grade is Grade.BREAK and any(direction is Direction.FORWARD for direction, _, _ in failing))
            or rule.loses_values
        ),
    )


def _find_grade(
    change: SchemaChange, failing: list[tuple[Direction, Answer, Hit]], deploy: Deploy
) -> tuple[Grade, tuple[Column, ...]]:
    """Return the worst grade of the directions that fail, and who breaks."""
    if change.is_risky:
        hit_columns = [column for _, _, hit in failing for column in hit.columns]
        return Grade.RISKY, sort_columns(hit_columns)
    grade, columns = Grade.SAFE, list[Column]()
    for _, _, hit in failing:
        if hit.only_during_deploy and deploy is Deploy.STOP:
            continue
        columns += hit.columns
        grade = max(grade, hit.grade, key=lambda each: each.weight)
    return grade, sort_columns(columns)


def _find_direction(directions: list[Direction]) -> Direction | None:
    return Direction.BOTH if len(directions) > 1 else directions[0] if directions else None


def _find_place(name: str | None, place: Pointer) -> Pointer | None:
    return None if name is None else ("schemas", name, *place)


def _write_message(
    rule: str, template: str, change: SchemaChange, columns: tuple[Column, ...], grade: Grade
) -> str:
    path = "the value" if change.path == "/" else change.path
    if grade is Grade.SAFE and rule in ("FIELD_OPTIONAL_ADDED", "FIELD_OPTIONAL_REMOVED"):
        done = "new" if rule.endswith("ADDED") else "gone"
        return f"{path} is {done}; it is optional and the object is open, so that readers ignore what they do not know"
    words = {**_UNKNOWN, **change.words, "path": path, "they": describe_columns(columns)}
    return template.format_map(words)


def _find_remedy(remedy: Remedy, usage: Usage, grade: Grade) -> tuple[str, ...]:
    if grade is Grade.SAFE:
        return ()
    stored = {"KV_VALUE": Remedy.ENTRIES_LAST, "STATE_VALUE": Remedy.NEW_VERSION}.get(usage.kind.prefix)
    if stored is not None and remedy is not Remedy.COMPARABLE:
        return REMEDIES[stored]
    return REMEDIES[remedy]
