"""Hand-made pairs with known answers: what is proven, what is refused with a value, and what the procedure must not forget."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from datetime import UTC, date, datetime, time
from time import process_time
from typing import Final
from unittest.mock import patch
from uuid import UUID

import pytest
from pydantic import JsonValue
from trellis_nats._support.text_formats import parse_date, parse_date_time, parse_time, parse_uuid

from tests.unit.codegen.shapes import SHAPES
from trellis_codegen.breaking.proof import covers, evaluate
from trellis_codegen.breaking.proof.covers import find_failures
from trellis_codegen.breaking.proof.failures import Cause
from trellis_codegen.breaking.proof.kinds import Kind, Link, Object, Text
from trellis_codegen.breaking.proof.models import read_model
from trellis_codegen.breaking.proof.numbers import Range
from trellis_codegen.breaking.proof.splits import list_splits
from trellis_codegen.breaking.proof.texts import matches_format, writes_text
from trellis_codegen.breaking.proof.witnesses import find_witness
from trellis_codegen.breaking.schemas.changes import compare_models

JsonObject = dict[str, JsonValue]

TEXT: Final[JsonObject] = {"type": "string"}
WHOLE: Final[JsonObject] = {"type": "integer"}
NUMBER: Final[JsonObject] = {"type": "number"}
TRUTH: Final[JsonObject] = {"type": "boolean"}
NULL: Final[JsonObject] = {"type": "null"}
NODE: Final[JsonValue] = {"$ref": "#/$defs/node"}


def record(*required: str, closed: bool = False, **members: JsonValue) -> JsonObject:
    rest: JsonObject = {"additionalProperties": False} if closed else {}
    return {"type": "object", "properties": members, "required": list[JsonValue](required), **rest}


def either(*members: JsonValue) -> JsonObject:
    return {"anyOf": list(members)}


def many(item: JsonValue, **limits: JsonValue) -> JsonObject:
    return {"type": "array", "items": item, **limits}


def pair_of(*positions: JsonValue) -> JsonObject:
    return {"type": "array", "prefixItems": list(positions), "minItems": len(positions), "items": False}


def mapped(value: JsonValue) -> JsonObject:
    return {"type": "object", "additionalProperties": value}


def names(pattern: str) -> JsonObject:
    return {"type": "object", "patternProperties": {pattern: WHOLE}, "additionalProperties": False}


def chain(value: JsonValue, *, link: JsonValue = NODE, required: tuple[str, ...] = ("v",)) -> JsonObject:
    node = record(*required, v=value, next=link)
    return {"$ref": "#/$defs/node", "$defs": {"node": node}}


def nest(leaf: JsonValue) -> JsonObject:
    return {"$ref": "#/$defs/node", "$defs": {"node": either(leaf, many(NODE))}}


TAGGED: Final = (
    record("k", closed=True, k={"const": "a"}, x=TEXT),
    record("k", closed=True, k={"const": "b"}, y=WHOLE),
)
EQUAL: Final[list[tuple[str, JsonValue, JsonValue]]] = [
    ("a chain", chain(NUMBER), chain(NUMBER)),
    ("a list of itself", nest(TEXT), nest(TEXT)),
    ("a nullable link", chain(WHOLE, link=either(NODE, NULL)), chain(WHOLE, link=either(NULL, NODE))),
    ("a map", mapped(WHOLE), mapped({**NUMBER, "multipleOf": 1})),
    ("whole bounds", {**WHOLE, "exclusiveMinimum": 0.5}, {**WHOLE, "minimum": 1}),
    ("constants and their type", either({"const": True}, {"const": False}), TRUTH),
    ("a range and its numbers", {**WHOLE, "minimum": 1, "maximum": 3}, {"enum": [1, 2.0, 3]}),
    ("tags and a union", record("k", closed=True, k={"enum": ["a", "b"]}), either(record("k", closed=True, k={"const": "a"}), record("k", closed=True, k={"const": "b"}))),
    ("an optional member and two objects", record(closed=True, a=TEXT), either(record(closed=True), record("a", closed=True, a=TEXT))),
    ("lengths that meet", {**TEXT, "maxLength": 9}, either({**TEXT, "maxLength": 4}, {**TEXT, "minLength": 5, "maxLength": 9})),
    ("counts that meet", many(WHOLE, maxItems=3), either(many(WHOLE, maxItems=1), many(WHOLE, minItems=2, maxItems=3))),
    ("a tuple", many(TEXT, minItems=2, maxItems=2), pair_of(TEXT, TEXT)),
    ("an empty list", many(False), {"type": "array", "maxItems": 0}),
    ("a member that cannot be", record(closed=True, a=False), record(closed=True)),
]  # fmt: skip
"""Two spellings of one type."""
WIDER: Final[list[tuple[str, JsonValue, JsonValue, JsonValue]]] = [
    ("a chain", chain(WHOLE), chain(NUMBER), {"v": 0.5}),
    ("a list of itself", nest(WHOLE), nest(NUMBER), 0.5),
    ("a required member", record("a", a=TEXT), record(a=TEXT), {}),
    ("a closed object", record(closed=True, a=TEXT), record(closed=True, a=TEXT, b=WHOLE), {"b": 0}),
    ("an open bound", {**NUMBER, "exclusiveMinimum": 0}, {**NUMBER, "minimum": 0}, 0),
    ("a step", {**NUMBER, "multipleOf": 0.5}, NUMBER, 0.25),
    ("a pattern", {**TEXT, "pattern": "^a+$"}, TEXT, ""),
    ("a format", {**TEXT, "format": "uuid"}, TEXT, ""),
    ("a tag", either(*TAGGED), either(*TAGGED, record("k", closed=True, k={"const": "c"})), {"k": "c"}),
    ("the last piece", {"enum": [True]}, TRUTH, False),
    ("further members against a named one", record(a=TEXT), {"type": "object"}, {"a": None}),
    ("names", names("^x"), mapped(WHOLE), {"other": 0}),
    ("a number like a truth", {"enum": [1]}, {"enum": [1, True]}, True),
    ("one more position", pair_of(TEXT), many(TEXT), []),
    ("a deep constant", {"const": {"a": [1]}}, {"enum": [{"a": [1]}, {"a": [2]}]}, {"a": [2]}),
    ("anything", many(TEXT), many(True), [None]),
    ("a gap", either({**NUMBER, "minimum": 0, "maximum": 1}, {**NUMBER, "minimum": 2, "maximum": 3}), {**NUMBER, "minimum": 0, "maximum": 3}, 1.5),
    ("a name", names("^x"), either(names("^x"), record("a", closed=True, a=WHOLE)), {"a": 0}),
    ("a value of an empty object", chain(WHOLE, required=("v", "next")), {"const": 1}, 1),
]  # fmt: skip
"""A type, a wider one, and a value that only the wider one has."""


def answer(old: JsonValue, new: JsonValue) -> list[JsonValue | str]:
    """Return a value for each place where the proof fails."""
    writer, reader = (read_model("Thing", schema, is_event=False).root for schema in (old, new))
    failures = find_failures(writer, reader, undeclared=False)
    found: list[JsonValue | str] = []
    for failure in failures:
        witness = find_witness(failure, writer, reader, undeclared=False, is_alone=len(failures) == 1)
        found.append("undecided" if witness is None else witness.value)
    return found


@pytest.mark.parametrize(("what", "one", "other"), EQUAL, ids=[row[0] for row in EQUAL])
def test_two_spellings_of_one_type_read_each_other(what: str, one: JsonValue, other: JsonValue) -> None:
    assert answer(one, other) == []
    assert answer(other, one) == []
    assert answer(one, one) == []
    assert answer(other, other) == []


@pytest.mark.parametrize(("what", "narrow", "wide", "value"), WIDER, ids=[row[0] for row in WIDER])
def test_a_wider_type_reads_and_a_narrower_one_refuses_a_value(
    what: str, narrow: JsonValue, wide: JsonValue, value: JsonValue
) -> None:
    assert answer(narrow, wide) == []
    assert value in answer(wide, narrow)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ({**TEXT, "pattern": "^a+$"}, {**TEXT, "pattern": "^[ab]+$"}, "PATTERN"),
        ({**TEXT, "format": "uuid"}, {**TEXT, "pattern": "^[0-9a-f-]+$"}, "FORMAT_AND_TEXT"),
        (
            {"type": "object", "patternProperties": {"^a+$": WHOLE}, "additionalProperties": False},
            {"type": "object", "patternProperties": {"^[ab]+$": WHOLE}, "additionalProperties": False},
            "NAMES",
        ),
        ({**TEXT, "pattern": "^a$"}, {"const": "a"}, "NO_WITNESS"),
    ],
)
def test_what_is_not_decided_says_why(old: JsonValue, new: JsonValue, reason: str) -> None:
    before, after = (read_model("Thing", schema, is_event=False) for schema in (old, new))

    change = next(each for each in compare_models(before, after) if each.rule == "NOT_DECIDED")

    assert change.forward is not None
    assert change.forward.reason is not None
    assert change.forward.reason.startswith(f"{reason}: ")


def test_a_proof_that_is_too_large_is_not_decided() -> None:
    members: list[JsonValue] = [
        record(f"m{index}", a=either(*[{**WHOLE, "minimum": low} for low in range(30)]))
        for index in range(60)
    ]
    writer, reader = (
        read_model("Thing", either(*each), is_event=False).root for each in (members, members[::-1])
    )
    limits = patch.object(covers, "_MOST_STEPS", 100)

    with limits:
        (failure,) = find_failures(writer, reader, undeclared=False)

    assert failure.cause is Cause.TOO_LARGE


def test_a_renamed_member_is_one_change() -> None:
    old, new = record("a", "b", a=TEXT, b=WHOLE), record("a", "c", a=TEXT, c=WHOLE)
    models = [read_model("Thing", schema, is_event=False) for schema in (old, new)]

    changes = compare_models(models[0], models[1])

    assert [(change.rule, change.path) for change in changes] == [("FIELD_RENAMED", "/c")]
    assert changes[0].words["old"] == "b"
    assert changes[0].forward is not None
    assert changes[0].backward is not None


def test_a_change_inside_a_union_is_reported_where_it_is() -> None:
    old = either(record("k", k={"const": "a"}, x=TEXT), record("k", k={"const": "b"}))
    new = either(record("k", k={"const": "a"}, x=WHOLE), record("k", k={"const": "b"}))
    models = [read_model("Thing", schema, is_event=False) for schema in (old, new)]

    assert [(change.rule, change.path) for change in compare_models(models[0], models[1])] == [
        ("TYPE_CHANGED", "/x")
    ]


def test_writers_need_not_send_the_header_of_an_event() -> None:
    old, new = record(a=TEXT), record("header", a=TEXT, header=record())
    models = [read_model("Thing", schema, is_event=True) for schema in (old, new)]

    assert find_failures(models[0].root, models[1].root, undeclared=False) == []


FORMATS: Final[dict[str, Callable[[str], date | datetime | time | UUID]]] = {
    "date": parse_date,
    "date-time": parse_date_time,
    "time": parse_time,
    "uuid": parse_uuid,
}
TEXTS: Final = [
    "", "111", "2026-11-23", "2026-02-30", "20261123", "0000-01-01",
    "2026-11-23T08:30:00Z", "2026-11-23t08:30:00.25-08:00", "2026-11-23 08:30:00Z", "2026-11-23T08:30:00",
    "2026-12-31T23:59:60Z", "2026-12-31T22:59:60Z", "2027-01-01T00:59:60+01:00", "2026-11-23T24:00:00Z",
    "08:30:00Z", "08:30Z", "23:59:60Z", "08:30:00", "8:30:00Z", "08:30:00.1234567+01:00",
    "2a1b2c3d-0000-4000-8000-000000000000", "2A1B2C3D-0000-4000-8000-00000000000F", "2a1b2c3d000040008000000000000000",
]  # fmt: skip


def is_read(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_read_as_the_runtime_reads_them(name: str) -> None:
    read = {text for text in TEXTS if matches_format(name, text)}

    assert read == {text for text in TEXTS if is_read(FORMATS[name], text)}
    assert read


def test_of_several_forms_of_a_time_models_write_one() -> None:
    assert writes_text(Text(format="date-time"), "2026-11-23T08:30:00Z")
    assert not writes_text(Text(format="date-time"), "2026-11-23t08:30:00z")
    assert not writes_text(Text(format="uuid"), "2A1B2C3D-0000-4000-8000-00000000000F")
    assert writes_text(
        Text(format="date-time"), datetime(2026, 11, 23, tzinfo=UTC).isoformat().replace("+00:00", "Z")
    )


def is_right() -> bool:
    """Return whether the hand-made pairs have the known answers."""
    same = all(answer(*pair) == [] for _, one, other in EQUAL for pair in ((one, other), (other, one)))
    return same and all(
        answer(narrow, wide) == [] and value in answer(wide, narrow) for _, narrow, wide, value in WIDER
    )


def without(cause: Cause, compare: Callable[..., list[Cause]]) -> Callable[..., list[Cause]]:
    def compared(*pair: Kind) -> list[Cause]:
        return [found for found in compare(*pair) if found is not cause]

    return compared


def reads_open_bounds_as_closed(bounds: Range, other: Range) -> bool:
    return bounds.low is None or (other.low is not None and other.low >= bounds.low)


def drop_last(kind: Kind, members: Sequence[Kind]) -> Iterator[Sequence[Kind]]:
    return (pieces[:-1] for pieces in SPLITS(kind, members))


def reads_truth_as_one(value: JsonValue) -> str:
    return repr(1 if value is True else value)


def reads_any_member(kind: Object, value: JsonObject, **_: bool) -> bool:
    return kind.required <= value.keys()


def leads_nowhere(kind: Kind) -> bool:
    return not isinstance(kind, Link)


def says_yes(*_: object) -> bool:
    return True


def says_nothing(*_: object) -> Iterator[Sequence[Kind]]:
    return iter(())


TEXTS_COMPARED: Final = covers._compare_texts  # pyright: ignore[reportPrivateUsage] - a mutant replaces it
NUMBERS_COMPARED: Final = covers._compare_numbers  # pyright: ignore[reportPrivateUsage] - likewise
SPLITS: Final = list_splits
MUTANTS: Final[list[tuple[str, object, str, object]]] = [
    ("patterns ignored", covers, "_compare_texts", without(Cause.PATTERN, TEXTS_COMPARED)),
    ("formats ignored", covers, "_compare_texts", without(Cause.FORMAT, TEXTS_COMPARED)),
    ("bounds ignored", covers, "_compare_numbers", without(Cause.BOUND, NUMBERS_COMPARED)),
    ("fractions ignored", covers, "_compare_numbers", without(Cause.WHOLE, NUMBERS_COMPARED)),
    ("open bounds are closed", Range, "_holds_low", reads_open_bounds_as_closed),
    ("splits drop their last piece", covers, "list_splits", drop_last),
    ("no splits", covers, "list_splits", says_nothing),
    ("1 is true", evaluate, "equality_key", reads_truth_as_one),
    ("closed objects are open", evaluate, "_fits_object", reads_any_member),
    ("names ignored", covers, "matches_pattern", says_yes),
    ("every kind has a value", covers, "has_value", says_yes),
    ("links never have a value", covers, "has_value", leads_nowhere),
]
"""Ways to break the procedure: where, and by what."""


def test_without_mutants_every_answer_is_right() -> None:
    assert is_right()


@pytest.mark.parametrize(("what", "owner", "name", "instead"), MUTANTS, ids=[row[0] for row in MUTANTS])
def test_the_hand_made_pairs_find_each_mutant(what: str, owner: object, name: str, instead: object) -> None:
    with patch.object(owner, name, instead):
        assert not is_right()


@pytest.mark.parametrize("undeclared", [False, True])
def test_every_shape_reads_itself(*, undeclared: bool) -> None:
    """Also with members that no schema declares, and in unions of objects that contain themselves."""
    failing = [
        name
        for name, shape in SHAPES.items()
        if find_failures(*read_twice(shape.schema), undeclared=undeclared)
    ]

    assert failing == []


def read_twice(schema: JsonValue) -> tuple[Kind, Kind]:
    one, other = (read_model("Thing", copy, is_event=False) for copy in (schema, deepcopy(schema)))
    return one.root, other.root


FLAGS: Final[JsonObject] = {
    "type": "object",
    "properties": {f"f{index}": TRUTH for index in range(20)},
    "additionalProperties": False,
}


def requiring(name: str) -> JsonObject:
    return {**FLAGS, "required": [name]}


HOSTILE: Final[list[tuple[str, JsonValue, JsonValue]]] = [
    ("repeats in repeats", {**TEXT, "pattern": "^((([a-z]*)*)*)*$", "minLength": 4000}, {**TEXT, "pattern": "^(([a-z]*)*)*b?$"}),
    ("a list without end", many(TEXT, minItems=10**9), many(WHOLE, minItems=10**9 + 1)),
    ("lists in lists", many(many(many(TEXT, minItems=1000), minItems=1000), minItems=1000), many(many(many(WHOLE, minItems=999), minItems=999), minItems=999)),
    ("large numbers", {**NUMBER, "maximum": 10**307, "minimum": -(10**307)}, {**NUMBER, "maximum": 10**306, "multipleOf": 0.5}),
    ("large steps", {**WHOLE, "maximum": 10**307}, {**WHOLE, "maximum": 10**306, "multipleOf": 10**100}),
    ("many flags", FLAGS, either(*[requiring(f"f{index}") for index in range(20)])),
]  # fmt: skip
"""Pairs whose values, or whose proofs, would be large."""


@pytest.mark.parametrize(("what", "old", "new"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_a_hostile_pair_costs_neither_time_nor_memory(what: str, old: JsonValue, new: JsonValue) -> None:
    models = [read_model("Thing", schema, is_event=False) for schema in (old, new)]

    started = process_time()
    changes = compare_models(models[0], models[1])

    assert changes
    assert process_time() - started < 10
