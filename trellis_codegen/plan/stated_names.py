"""Python names that a project states for names of a contract, where the rules give none or two the same.

They stand in pyproject.toml, not in the contract: `"/schemas/Thing/properties/@id" = "at_id"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from pydantic import BaseModel

from trellis_codegen.contract.exchange import ErrorDeclaration, ErrorRef
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.parts import SchemaRef
from trellis_codegen.contract.pointers import split_pointer
from trellis_codegen.contract.queues import EventConsumer
from trellis_codegen.naming import GROUPED_SECTIONS, StatedName
from trellis_codegen.problems import Problem, Severity
from trellis_codegen.rule_ids import Rule

__all__ = ["apply_names"]

_SECTIONS = frozenset(
    ["errors", "eventConsumers", "events", "feeds", "jobs", "operations", "rpc", "schemas", "state"]
)


def apply_names(manifest: Manifest, names: Mapping[str, str]) -> tuple[Manifest, list[Problem]]:
    """Return a contract whose names know their Python names, with a warning for each name of something that it lacks.

    A key of `names` is a JSON pointer, after the id of a contract if it is meant for that contract alone.
    """
    stated = _Names()
    problems: list[Problem] = []
    keys: dict[tuple[str, ...], str] = {}
    for key, name in names.items():
        contract_id, slash, rest = key.partition("/")
        if contract_id in ("", manifest.id):
            keys[split_pointer(slash + rest)] = key
            stated.by_place[split_pointer(slash + rest)] = name
    if not keys:
        return manifest, []
    stated.find_types(manifest)
    result = cast("Manifest", stated.rewrite(manifest, ()))
    for place in keys.keys() - stated.used:
        what = f'pyproject.toml names "{keys[place]}", but the contract has nothing with a Python name there'
        hint = (
            f'if it is meant for another contract, start it with the id of that one: "…@v1/{"/".join(place)}"'
        )
        problems.append(
            Problem(
                pointer=(), rule=Rule.UNKNOWN_STATED_NAME, what=what, hint=hint, severity=Severity.WARNING
            )
        )
    return result, problems


@dataclass(slots=True)
class _Names:
    """The stated names of one contract."""

    by_place: dict[tuple[str, ...], str] = field(default_factory=dict[tuple[str, ...], str])
    by_type: dict[str, StatedName] = field(default_factory=dict[str, StatedName])
    """Error type → the stated name of its declaration."""
    used: set[tuple[str, ...]] = field(default_factory=set[tuple[str, ...]])

    def find_types(self, manifest: Manifest) -> None:
        for name, error in (manifest.errors or {}).items():
            if spelling := self.by_place.get(("errors", name)):
                self.by_type.setdefault(error.error_type, StatedName(error.error_type, spelling))

    def rewrite(self, value: object, place: tuple[str, ...]) -> object:
        """Return `value`, a part of the contract at `place`, with its stated names."""
        match value:
            case SchemaRef():
                return value.model_copy(
                    update={"schema_name": self._name(("schemas", value.schema_name), value.schema_name)}
                )
            case ErrorRef() | ErrorDeclaration():
                kind = self.by_type.get(value.error_type, value.error_type)
                return self._rewrite_fields(value, place).model_copy(update={"error_type": kind})
            case EventConsumer() if value.self_events is not None:
                events = [self._name(("events", event), event) for event in value.self_events]
                return self._rewrite_fields(value, place).model_copy(update={"self_events": events})
            case BaseModel():
                return self._rewrite_fields(value, place)
            case dict():
                members = cast("dict[str, object]", value)
                return {
                    self._name((*place, name), name): self.rewrite(each, (*place, name))
                    for name, each in members.items()
                }
            case list():
                elements = cast("list[object]", value)
                return [
                    self._name((*place, str(index)), each)
                    if isinstance(each, str)
                    else self.rewrite(each, (*place, str(index)))
                    for index, each in enumerate(elements)
                ]
            case _:
                return value

    def _rewrite_fields(self, part: BaseModel, place: tuple[str, ...]) -> BaseModel:
        fields = type(part).model_fields
        changed = {
            name: self.rewrite(getattr(part, name), (*place, str(fields[name].alias)))
            for name in part.model_fields_set
            if name in fields
        }
        return part.model_copy(update=changed)

    def _name(self, place: tuple[str, ...], name: str) -> str:
        spelling = self.by_place.get(place)
        if spelling is None or not _has_python_name(place):
            return name
        self.used.add(place)
        if place[0] in GROUPED_SECTIONS and "." in name and "." not in spelling:
            spelling = f"{name.partition('.')[0]}.{spelling}"
        return StatedName(name, spelling)


def _has_python_name(place: tuple[str, ...]) -> bool:
    match place:
        case (section, _):
            return section in _SECTIONS
        case ("resources", "kv" | "store", _) | ("uses", "required" | "optional", _):
            return True
        case ("schemas", _, *_, "properties" | "required", _):
            return True
        case _:
            return False
