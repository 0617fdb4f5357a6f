"""Members of a JSON object as their bytes: whatever stands in them, and however it is written."""

from __future__ import annotations

import json
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_nats.jobs.model.raw_members import raw_members

NAMES: Final = st.sampled_from(["payload", "deadline", 'a"b', "a\\", "", "{", "ä", "x,y"])
VALUES: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet='ab"\\{}[],:ä\ud800 \n', max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(NAMES, children, max_size=3),
    max_leaves=8,
)
OBJECTS: Final = st.dictionaries(NAMES, VALUES, max_size=5)


@given(OBJECTS, st.sampled_from([None, 0, 2]), st.booleans(), st.booleans())
def test_each_member_is_found_as_it_stands(
    value: dict[str, object], indent: int | None, is_ascii: bool, is_compact: bool
) -> None:
    separators = (",", ":") if is_compact else (" , ", " :\t")
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii, separators=separators)
    data = text.encode(errors="surrogatepass")

    members = raw_members(data)

    assert {name: json.loads(raw) for name, raw in members.items()} == value
    assert all(raw in data and raw == raw.strip() for raw in members.values())


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ('{"payload":12345678901234567890123456789}', "12345678901234567890123456789"),
        ('{"payload":{"b":1.10,"a":1E400}}', '{"b":1.10,"a":1E400}'),
        ('{"payload":"\\ud800"}', '"\\ud800"'),
        ('{"payload":{"payload":"}]\\\\"},"x":0}', '{"payload":"}]\\\\"}'),
        ('{"payl\\u006fad":[ 1 , 2 ]}', "[ 1 , 2 ]"),
        ('{"payload":1,"payload":2}', "2"),
        ('\ufeff {"payload":NaN }', "NaN"),
    ],
)
def test_a_payload_keeps_every_character(text: str, raw: str) -> None:
    assert raw_members(text.encode())["payload"] == raw.encode()


@pytest.mark.parametrize("text", ["", "[1]", "7", '{"a"', '{"a":', '{"a":[1', '{"a":1 "b":2}', '{"a"=1}'])
def test_what_is_not_an_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="byte"):
        raw_members(text.encode())


def test_an_object_in_another_encoding_is_refused() -> None:
    with pytest.raises(ValueError, match="byte 0"):
        raw_members('{"payload":1}'.encode("utf-16"))
