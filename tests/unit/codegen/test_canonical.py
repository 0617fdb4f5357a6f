"""One value has one text."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from trellis_codegen.contract.canonical import canonical_json, indented_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1e-5, "0.00001"),
        (1e-6, "1e-6"),
        (1.5e-7, "1.5e-7"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e16"),
        (1.2345678901234568e17, "1.2345678901234568e17"),
        (1e100, "1e100"),
        (2**53 + 1, "9007199254740993"),
        (2**64, "1.8446744073709552e19"),
    ],
)
def test_numbers_are_written_as_rust_writes_them(number: float, expected: str) -> None:
    assert canonical_json(number) == expected


def test_members_are_sorted_by_code_point_and_escapes_are_few() -> None:
    value: JsonValue = {"\U00010000": 1, "\ufffd": 2, "b": '"\\\n\x1f\x7f\u2028ä', "a": None}

    assert canonical_json(value) == '{"a":null,"b":"\\"\\\\\\n\\u001f\x7f\u2028ä","\ufffd":2,"\U00010000":1}'


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_is_not_finite_has_no_text(number: float) -> None:
    with pytest.raises(ValueError, match="no canonical text"):
        canonical_json(number)


@given(JSON)
def test_the_text_parses_to_the_value(value: JsonValue) -> None:
    assert json.loads(canonical_json(value)) == value


@given(JSON)
def test_the_order_of_members_does_not_matter(value: JsonValue) -> None:
    assert canonical_json(backwards(value)) == canonical_json(value)


def backwards(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {name: backwards(value[name]) for name in reversed(value)}
    return [backwards(each) for each in value] if isinstance(value, list) else value


@given(JSON)
def test_an_indented_text_is_the_same_value(value: JsonValue) -> None:
    assert canonical_json(json.loads(indented_json(value))) == canonical_json(
        json.loads(canonical_json(value))
    )


def test_an_indented_text_has_a_line_for_each_member_and_element() -> None:
    assert indented_json({"b": [1, {}], "a": {"c": []}}).splitlines() == [
        "{",
        '  "b": [',
        "    1,",
        "    {}",
        "  ],",
        '  "a": {',
        '    "c": []',
        "  }",
        "}",
    ]
