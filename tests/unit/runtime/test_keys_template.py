"""The key of a payload is the one that every runtime computes."""

import pytest
from pydantic import JsonValue
from trellis_nats.errors import InvalidPayload
from trellis_nats.jobs.keys.model.template import resolve

PAYLOAD: JsonValue = {
    "tenant": "acme",
    "number": 42,
    "yes": True,
    "a/b": "slash",
    "c~d": "tilde",
    "~1": "escaped",
    "list": ["zero", {"name": "one"}],
    "none": None,
    "object": {},
    "float": 1.5,
    "whole": 1.0,
    "big": 2**53,
    "greatest": 2**53 - 1,
    "secret": [],
}


def hash_of(*template: str) -> str:
    return resolve(template, PAYLOAD, what="the payload").hash


def display_of(*template: str) -> str:
    return resolve(template, PAYLOAD, what="the payload").display


def test_segments_keep_the_order_of_the_template() -> None:
    assert display_of("tenant", "/tenant", "/number", "/yes") == "tenant:acme:42:true"


@pytest.mark.parametrize(
    ("pointer", "display"),
    [
        ("/a~1b", "slash"),
        ("/c~0d", "tilde"),
        ("/~01", "escaped"),
        ("/list/0", "zero"),
        ("/list/1/name", "one"),
        ("/greatest", str(2**53 - 1)),
    ],
)
def test_pointers_follow_rfc_6901(pointer: str, display: str) -> None:
    assert display_of(pointer) == display


@pytest.mark.parametrize(
    "pointer", ["/list/00", "/list/2", "/list/-", "/list/-1", "/list/+1", "/tenant/0", "/gone"]
)
def test_a_pointer_without_a_value_is_an_error(pointer: str) -> None:
    with pytest.raises(InvalidPayload, match="does not contain it"):
        display_of(pointer)


@pytest.mark.parametrize(
    ("pointer", "kind"), [("/none", "null"), ("/object", "an object"), ("/list", "an array")]
)
def test_only_scalars_are_keys(pointer: str, kind: str) -> None:
    with pytest.raises(InvalidPayload, match=f"got {kind}"):
        display_of(pointer)


@pytest.mark.parametrize("pointer", ["/float", "/whole", "/big"])
def test_numbers_that_runtimes_write_differently_are_rejected(pointer: str) -> None:
    with pytest.raises(InvalidPayload, match="use a string"):
        display_of(pointer)


def test_all_problems_are_reported_at_once_without_values() -> None:
    payload: JsonValue = {"a": 7.25, "b": None, "c": {"secret": "s3cret"}}

    with pytest.raises(InvalidPayload) as caught:
        resolve(("/a", "/b", "/c", "/d"), payload, what="the payload")

    said = str(caught.value)
    assert all(f"#/{place}" in said for place in "abcd")
    assert "7.25" not in said
    assert "s3cret" not in said


def test_true_is_not_one_and_a_text_is_not_a_number() -> None:
    hashes = {
        resolve(("/x",), {"x": value}, what="the payload").hash for value in (True, 1, "1", "true", False, 0)
    }

    assert len(hashes) == 6


def test_two_keys_may_have_the_same_text_and_different_hashes() -> None:
    assert display_of("a", "b:c") == display_of("a:b", "c")
    assert hash_of("a", "b:c") != hash_of("a:b", "c")


def test_a_long_key_is_truncated_only_for_display() -> None:
    long = [resolve(("x" * 300 + end,), {}, what="the payload") for end in "ab"]

    assert {key.display for key in long} == {"x" * 256 + "…"}
    assert len({key.text for key in long}) == 2, "other runtimes compare the whole text"
    assert len({key.hash for key in long}) == 2
