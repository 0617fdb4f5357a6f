"""One change of a schema, what the rules foretell about it for one surface, and the values that show it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, TypeAlias

from pydantic import JsonValue, TypeAdapter

from tests.support.generated import adapter
from tests.support.model_values import REFUSED, drop_undeclared, read_value, write_value
from tests.support.rolling.versions import Versions
from tests.support.rule_contracts import USES, JsonObject, complete
from tests.support.schema_pairs import Pair, draw_values
from trellis_codegen.breaking.findings import Finding
from trellis_codegen.breaking.rules.grades import Direction
from trellis_codegen.breaking.rules.rule import SchemaClass, SchemaRule
from trellis_codegen.breaking.rules.schema_examples import SCHEMA_EXAMPLES
from trellis_codegen.breaking.rules.schema_rules import SCHEMA_RULES

__all__ = ["Example", "SchemaCase", "SchemaVersions"]

Example: TypeAlias = tuple[str, Literal["fails", "passes"]]
"""The suffix of a rule, and which of its examples."""

_WRAPPED: Final = frozenset({"ERROR_DATA", "EVENT"})
"""Surfaces whose values are objects, because others stand next to their members."""
_DRAWN: Final = 60
"""How many values are drawn for a direction in which nothing breaks."""
_SENT: Final = 2
"""How many of them are sent."""


@dataclass(frozen=True)
class SchemaCase:
    """One pair of schemas, used by one surface."""

    name: str
    """The name of the schema and of its surface in the contract."""
    prefix: str
    versions: Versions
    pair: Pair
    findings: tuple[Finding, ...]

    def breaks(self, direction: Direction) -> bool | None:
        """Return whether a value of one version fails in the other; None if it is not decided.

        What depends on members that no schema declares does not count: no generated model sends them.
        """
        counted = [
            finding
            for finding in self.findings
            if _rule_of(finding, self.prefix).kind is not SchemaClass.MEANING
            and finding.direction in {direction, Direction.BOTH}
        ]
        if any(found is direction for finding in counted for found, _ in finding.witnesses):
            return True
        return None if counted else False

    def list_values(self, direction: Direction) -> list[JsonValue]:
        """Return what the writer sends: what shows the breaks, or else values that its model takes."""
        witnesses = [
            value for finding in self.findings for found, value in finding.witnesses if found is direction
        ]
        if self.breaks(direction):
            return witnesses
        writer = self.versions.old if direction is Direction.FORWARD else self.versions.new
        return _draw(adapter(writer.package, self.name), self._pair_of(direction))

    def _pair_of(self, direction: Direction) -> Pair:
        pair = self.pair
        return pair if direction is Direction.FORWARD else Pair(pair.seed, pair.new, pair.old, is_edited=True)


def _rule_of(finding: Finding, prefix: str) -> SchemaRule:
    return SCHEMA_RULES[finding.rule.removeprefix(f"{prefix}_")]


def _draw(model: TypeAdapter[object], pair: Pair) -> list[JsonValue]:
    found: list[JsonValue] = []
    for value in draw_values(pair, _DRAWN):
        read = read_value(model, value)
        if read is not REFUSED and read is not None:  # no runtime works a job without a payload
            drop_undeclared(read)
            written = write_value(model, read)
            if written not in found:
                found.append(written)
    return found[:_SENT]


@dataclass(frozen=True)
class SchemaVersions:
    """Two versions of a contract that use, on one surface, the pairs of schemas of many rules."""

    prefix: str
    versions: Versions
    pairs: dict[str, Pair]

    @classmethod
    def generate(cls, prefix: str, examples: Iterable[Example], folder: Path) -> SchemaVersions:
        """Generate both packages with the schemas of examples."""
        pairs: dict[str, Pair] = {}
        for seed, (suffix, kind) in enumerate(examples):
            example = SCHEMA_EXAMPLES[suffix]
            old, new = example.fails if kind == "fails" else example.passes
            pairs[_name(suffix, kind)] = _wrap(prefix, Pair(seed, old, new, is_edited=True))
        contracts = (
            _write_contract(prefix, {name: pair.old for name, pair in pairs.items()}),
            _write_contract(prefix, {name: pair.new for name, pair in pairs.items()}),
        )
        return cls(prefix, Versions.generate(*contracts, folder), pairs)

    @property
    def reversed(self) -> SchemaVersions:
        """The deploy that goes back."""
        pairs = {
            name: Pair(pair.seed, pair.new, pair.old, is_edited=True) for name, pair in self.pairs.items()
        }
        return SchemaVersions(self.prefix, self.versions.reversed, pairs)

    @cached_property
    def cases(self) -> list[SchemaCase]:
        """The cases, with the findings of each."""
        return [
            SchemaCase(
                name,
                self.prefix,
                self.versions,
                pair,
                tuple(each for each in self.versions.findings if _schema_of(each) == name),
            )
            for name, pair in self.pairs.items()
        ]


def _name(suffix: str, kind: str) -> str:
    return "".join(word.title() for word in (*suffix.split("_"), kind))


def _schema_of(finding: Finding) -> str:
    place = finding.pointer if finding.pointer is not None else finding.old_pointer
    assert place is not None
    return str(place[1])


def _wrap(prefix: str, pair: Pair) -> Pair:
    if prefix not in _WRAPPED:
        return pair
    old, new = (
        JsonObject(type="object", properties={"value": side}, required=["value"])
        for side in (pair.old, pair.new)
    )
    return Pair(pair.seed, old, new, is_edited=True)


def _write_contract(prefix: str, schemas: JsonObject) -> JsonObject:
    sections: JsonObject = {}
    for name in schemas:
        _merge(sections, _use(prefix, name))
    contract_id = f"{prefix.lower().replace('_', '-')}@v1"
    return complete({**sections, "id": contract_id, "schemas": {**schemas, "Any": True}, "exports": {}})


def _use(prefix: str, name: str) -> JsonObject:
    """Return the use of a schema, under its name."""
    use = json.dumps(_USES[prefix])
    for own in ('"X"', '"q"', '"k"', '"view"', '"Value"'):
        use = use.replace(own, f'"{name}"')
    use = use.replace('"E"', f'"{name}Error"')
    found: JsonObject = json.loads(use.replace(".v1.X", f".v1.{name}"))
    return found


_USES: Final[dict[str, JsonObject]] = {
    **USES,
    "EVENT": {
        **USES["EVENT"],
        "eventConsumers": {"X": {"self": ["X"], "replay": "all"}},
    },
}


def _merge(sections: JsonObject, more: JsonObject) -> None:
    for name, value in more.items():
        known = sections.get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            _merge(known, value)
        else:
            sections[name] = value
