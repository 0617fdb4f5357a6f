"""Subjects made of the values of events."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from trellis_nats import EventSpec, InvalidPayload
from trellis_nats.events.subjects import event_subject, subject_token


def spec(*params: str) -> EventSpec:
    subject = ".".join(["events.v1.Orders.Shipped", *(f"{{{each}}}" for each in params)])
    return EventSpec(name="Orders.Shipped", subject=subject, event=object, params=params)


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("us east.1", "us~20~east~2E~1"),
        ("", "_"),
        ("$SYS", "_$SYS"),
        ("a*b>c~d", "a~2A~b~3E~c~7E~d"),
        ("\x00\t\u00a0\ufeff", "~0~~9~~A0~~FEFF~"),
        ("zürich-日本", "zürich-日本"),
        (0, "0"),
        (-17, "-17"),
        (False, "false"),
        (True, "true"),
        (1.0, "1"),
        (-0.0, "0"),
        (1.5, "1~2E~5"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (0.00001, "0~2E~00001"),
        (1e-7, "1e-7"),
    ],
)
def test_a_value_becomes_the_token_that_other_runtimes_make(value: str | float, token: str) -> None:
    assert subject_token(value) == token


@given(st.text())
def test_any_text_becomes_one_token_without_wildcards(text: str) -> None:
    token = subject_token(text)

    assert token
    assert not re.search(r"[\x00-\x20\x7f.*>]", token)
    assert not token.startswith("$")


@given(st.text().filter(lambda text: text and text[0] not in "$_"))
def test_a_token_tells_its_text(text: str) -> None:
    unescaped = re.sub("~([0-9A-F]+)~", lambda found: chr(int(found[1], 16)), subject_token(text))

    assert unescaped == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_becomes_one_token_that_tells_it(number: float) -> None:
    token = subject_token(number)

    assert re.fullmatch(r"-?[0-9]+(~2E~[0-9]+)?(e[+-][1-9][0-9]*)?", token)
    assert float(token.replace("~2E~", ".")) == number


def test_pointers_lead_into_objects_and_arrays() -> None:
    body: JsonValue = {"to": {"a/b": [{"~": "x"}, 7]}}

    assert event_subject(spec("/to/a~1b/0/~0", "/to/a~1b/1"), body) == "events.v1.Orders.Shipped.x.7"


@pytest.mark.parametrize("body", [{}, {"region": None}, {"region": {}}, {"region": []}, []])
def test_a_value_that_is_not_valid_in_a_subject_is_named(body: JsonValue) -> None:
    with pytest.raises(InvalidPayload, match="/region") as caught:
        event_subject(spec("/region"), body)

    assert 'event "Orders.Shipped"' in str(caught.value)


def test_a_subject_that_would_end_the_connection_is_refused() -> None:
    with pytest.raises(InvalidPayload, match="/region: makes the subject longer"):
        event_subject(spec("/region"), {"region": "x" * 1000})


def test_a_filter_has_a_wildcard_for_each_value() -> None:
    assert spec("/region", "/a.b/0").filter == "events.v1.Orders.Shipped.*.*"
    assert spec().filter == "events.v1.Orders.Shipped"
