"""Constants that stand for secrets: of the same JSON type, valid where the schema allows, and the same for every secret. Pure.

A placeholder depends on the type of the value and on the schema, never on the value: a hash of a value with few
possibilities, or its length, would give it away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, product
from typing import Final, TypeAlias

from pydantic import JsonValue

from trellis_admin.samples.pattern_text import matches_pattern, write_text
from trellis_admin.samples.schema_parts import Part, describe_item, describe_member, follow_reference

__all__ = ["blank", "make_placeholder", "type_of"]

Alternative: TypeAlias = tuple[Part, ...]
"""Parts of a schema that hold together."""

_WORD: Final = "redacted"
_FORMATS: Final = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P1D",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "email": "redacted@example.invalid",
    "idn-email": "redacted@example.invalid",
    "hostname": "example.invalid",
    "idn-hostname": "example.invalid",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.invalid/",
    "uri-reference": "https://example.invalid/",
    "iri": "https://example.invalid/",
    "json-pointer": "/redacted",
    "regex": "redacted",
}
_MOST_ALTERNATIVES: Final = 64
_DEEPEST: Final = 12
_LONGEST: Final = 10_000
_MOST_ITEMS: Final = 100
_BUDGET: Final = 2_000
"""How many schemas are looked at for one placeholder."""
_NUMBERS: Final = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf")


def type_of(value: JsonValue) -> str:
    """Return the JSON type of a value; `number` is a number with a fraction."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def blank(kind: str) -> JsonValue:
    """Return the placeholder of a type that no schema describes."""
    blanks: dict[str, JsonValue] = {
        "null": None,
        "boolean": False,
        "integer": 0,
        "number": 0.5,
        "string": _WORD,
        "array": [],
        "object": {},
    }
    return blanks[kind]


def make_placeholder(value: JsonValue, schemas: Sequence[JsonValue], root: JsonValue) -> JsonValue:
    """Return the placeholder for a value that these schemas describe, all together or each alone."""
    return _Maker(root).make(type_of(value), [*schemas])


class _Maker:
    """Makes one placeholder. What it looks at is limited: references lead in circles."""

    def __init__(self, root: JsonValue) -> None:
        self._root = root
        self._budget = _BUDGET

    def make(self, kind: str, schemas: list[JsonValue]) -> JsonValue:
        """Return a value of a JSON type; one that no schema allows if there is none."""
        together: JsonValue = {"allOf": schemas}
        for schema in (together, *schemas):
            for alternative in self._alternatives(schema, 0):
                for candidate in self._candidates(kind, alternative, 0):
                    if _fits(candidate, alternative):
                        return candidate
        return blank(kind)

    def _make_any(self, schemas: list[JsonValue], depth: int) -> JsonValue:
        """Return a value for schemas, of a type that they allow."""
        for alternative in self._alternatives({"allOf": schemas}, depth):
            for kind in _types(alternative):
                for candidate in self._candidates(kind, alternative, depth):
                    if _fits(candidate, alternative):
                        return candidate
        return None

    def _alternatives(self, schema: JsonValue, depth: int) -> list[Alternative]:
        """Return the ways to satisfy a schema: for each of its unions, one member."""
        self._budget -= 1
        if schema is False or depth > _DEEPEST or self._budget < 0:
            return []
        if not isinstance(schema, dict):
            return [()]
        choices: list[list[Alternative]] = []
        if isinstance(reference := schema.get("$ref"), str):
            choices.append(self._alternatives(follow_reference(reference, self._root), depth + 1))
        for keyword in ("anyOf", "oneOf"):
            if isinstance(members := schema.get(keyword), list):
                either = (self._alternatives(member, depth + 1) for member in members)
                choices.append([*chain.from_iterable(either)])
        if isinstance(members := schema.get("allOf"), list):
            choices += [self._alternatives(member, depth + 1) for member in members]
        combined = islice(product(*choices), _MOST_ALTERNATIVES)
        return [(schema, *chain.from_iterable(each)) for each in combined]

    def _candidates(self, kind: str, alternative: Alternative, depth: int) -> Iterator[JsonValue]:
        for part in alternative:
            values = [part["const"]] if "const" in part else part.get("enum")
            if isinstance(values, list):
                yield from (value for value in values if type_of(value) == kind)
                return
        match kind:
            case "string":
                yield from _texts(alternative)
            case "integer" | "number":
                yield from _numbers(kind, alternative)
            case "array":
                yield self._list(alternative, depth)
            case "object":
                yield self._object(alternative, depth)
            case _:
                yield blank(kind)

    def _list(self, alternative: Alternative, depth: int) -> JsonValue:
        count = min(int(_bound(alternative, "minItems", max, 0)), _MOST_ITEMS)
        return [self._make_any(describe_item(alternative, index), depth + 1) for index in range(count)]

    def _object(self, alternative: Alternative, depth: int) -> JsonValue:
        names = [
            name
            for part in alternative
            if isinstance(required := part.get("required"), list)
            for name in required
            if isinstance(name, str)
        ]
        return {
            name: self._make_any(describe_member(alternative, name), depth + 1)
            for name in dict.fromkeys(names)
        }


def _types(alternative: Alternative) -> list[str]:
    """Return the types that an alternative allows."""
    allowed = ["string", "integer", "number", "boolean", "object", "array", "null"]
    for part in alternative:
        if isinstance(values := part.get("enum", [part["const"]] if "const" in part else None), list):
            allowed = [kind for kind in allowed if kind in {type_of(value) for value in values}]
        if "type" in part:
            kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
            allowed = [kind for kind in allowed if kind in kinds or (kind == "integer" and "number" in kinds)]
    return allowed


def _texts(alternative: Alternative) -> Iterator[str]:
    for part in alternative:
        if isinstance(form := part.get("format"), str) and form in _FORMATS:
            yield _FORMATS[form]
    texts = [_WORD, *(write_text(str(part["pattern"])) for part in alternative if "pattern" in part)]
    shortest = int(_bound(alternative, "minLength", max, 0))
    longest = int(_bound(alternative, "maxLength", min, _LONGEST))
    for text in reversed(texts):
        for filler in ("x", text[-1:] or "x"):
            yield text.ljust(min(shortest, _LONGEST), filler)[:longest]


def _numbers(kind: str, alternative: Alternative) -> Iterator[JsonValue]:
    bounds = [part[name] for part in alternative for name in _NUMBERS if name in part]
    plain: list[int | float] = [
        bound for bound in bounds if isinstance(bound, int | float) and not isinstance(bound, bool)
    ]
    near = [bound + step for bound in plain for step in (0, 1, -1, 0.5, -0.5)]
    steps = [part["multipleOf"] for part in alternative if "multipleOf" in part]
    for step in (step for step in steps if isinstance(step, int | float) and step > 0):
        near += [step * (bound // step + count) for bound in plain for count in (0, 1, -1, 2)]
    for number in (0, 1, -1, 0.5, *near):
        if kind == "integer" and float(number).is_integer():
            yield int(number)
        elif kind == "number":
            yield float(number) + (0.5 if float(number).is_integer() else 0)
            yield float(number)


def _bound(
    alternative: Alternative, keyword: str, choose: Callable[[list[float]], float], otherwise: int
) -> float:
    found = (part.get(keyword) for part in alternative)
    numbers = [float(number) for number in found if isinstance(number, int | float)]
    return choose(numbers) if numbers else otherwise


def _fits(value: JsonValue, alternative: Alternative) -> bool:
    """Return whether a candidate keeps the constraints of its own level."""
    return type_of(value) in _types(alternative) and all(_fits_part(value, part) for part in alternative)


def _fits_part(value: JsonValue, part: Part) -> bool:
    values = [part["const"]] if "const" in part else part.get("enum")
    if isinstance(values, list) and value not in values:
        return False
    match value:
        case str():
            return _fits_text(value, part)
        case bool():
            return True
        case int() | float():
            return _fits_number(value, part)
        case _:
            return True


def _fits_text(value: str, part: Part) -> bool:
    shortest, longest = part.get("minLength"), part.get("maxLength")
    if isinstance(shortest, int | float) and len(value) < shortest:
        return False
    if isinstance(longest, int | float) and len(value) > longest:
        return False
    pattern, form = part.get("pattern"), part.get("format")
    if isinstance(pattern, str) and not matches_pattern(pattern, value):
        return False
    return not (isinstance(form, str) and form in _FORMATS and value != _FORMATS[form])


def _fits_number(value: float, part: Part) -> bool:
    least, most = part.get("minimum"), part.get("maximum")
    above, below = part.get("exclusiveMinimum"), part.get("exclusiveMaximum")
    step = part.get("multipleOf")
    return not (
        (isinstance(least, int | float) and value < least)
        or (isinstance(most, int | float) and value > most)
        or (isinstance(above, int | float) and value <= above)
        or (isinstance(below, int | float) and value >= below)
        or (isinstance(step, int | float) and step > 0 and value % step != 0)
    )
