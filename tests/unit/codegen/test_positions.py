"""Every value of a document can be found in its text."""

import json

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from trellis_codegen.contract.positions import Positions
from trellis_codegen.problems import Pointer

TEXT = """{
  "jobs": {
    "a/b \\u00e4": {"payload": {"schema": "X"}},
    "empty": [[], {}, -1.5e3, null]
  }
}
"""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def found(text: str, pointer: Pointer) -> str:
    """Return the text from where a value is said to stand."""
    position = Positions(text).of(pointer)
    return text.split("\n")[position.line - 1][position.column - 1 :]


def pointers(value: JsonValue, pointer: Pointer = ()) -> list[tuple[Pointer, JsonValue]]:
    inside: list[tuple[Pointer, JsonValue]] = []
    if isinstance(value, dict):
        inside = [each for name, child in value.items() for each in pointers(child, (*pointer, name))]
    if isinstance(value, list):
        inside = [each for index, child in enumerate(value) for each in pointers(child, (*pointer, index))]
    return [(pointer, value), *inside]


def test_a_value_stands_where_its_text_starts() -> None:
    assert found(TEXT, ("jobs", "a/b ä", "payload", "schema")).startswith('"X"')
    assert found(TEXT, ("jobs", "empty", 2)).startswith("-1.5e3")
    assert found(TEXT, ("jobs", "empty", 1)).startswith("{}")


def test_a_name_stands_where_it_is_written() -> None:
    position = Positions(TEXT).of(("jobs", "empty"), on_key=True)

    assert (position.line, position.column) == (4, 5)


def test_what_is_not_there_stands_where_it_would_be_put() -> None:
    assert found(TEXT, ("jobs", "empty", 2, "more")).startswith("-1.5e3")
    assert found(TEXT, ("nothing",)).startswith("{")


def test_a_name_given_twice_is_noticed() -> None:
    assert [pointer for pointer, _ in Positions('{"a": {"b": 1, "b": 2}}').duplicates] == [("a", "b")]


@given(JSON, st.sampled_from([None, 1, 2]))
def test_every_value_of_any_document_is_found(value: JsonValue, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)

    for pointer, each in pointers(value):
        assert found(text, pointer).startswith(json.dumps(each)[:1])
