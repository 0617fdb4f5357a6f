"""Values to JSON and back: strict, bounded, and without the invalid value in errors."""

import asyncio
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType, SimpleNamespace
from typing import Annotated, Any, Literal
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, ConfigDict, Field, JsonValue
from trellis_nats import InvalidPayload, Model
from trellis_nats.codec import Codec, decode_json, encode_json


class Item(Model):
    number: Annotated[int, Field(alias="theNumber", ge=0)]
    price: float = 0.0
    note: str | None = None


class Basket(Model):
    items: list[Item]
    kind: Literal["small", "large"] = "small"
    at: AwareDatetime | None = None


BASKET = Codec[Basket](Basket, what="the basket")
JSON = Codec[JsonValue](JsonValue, what="a value")

items = st.builds(
    Item,
    number=st.integers(0, 10**30),
    price=st.floats(allow_nan=False, allow_infinity=False),
    note=st.none() | st.text(st.characters(codec="utf-8")),
)


@given(
    st.builds(
        Basket,
        items=st.lists(items, max_size=5),
        kind=st.sampled_from(["small", "large"]),
        at=st.none() | st.datetimes(timezones=st.just(UTC)),
    )
)
def test_a_value_survives_the_wire(basket: Basket) -> None:
    assert BASKET.decode(BASKET.encode(basket)) == basket


def test_what_was_never_set_stays_absent_and_names_are_those_of_the_wire() -> None:
    basket = Basket(items=[Item(number=1)])

    assert BASKET.to_json(basket) == {"items": [{"theNumber": 1}]}


def test_a_member_under_its_python_name_is_not_a_member_of_the_wire() -> None:
    """An object is made with either name, but JSON has the names of the schema alone."""
    unlike: Any = {"items": [{"number": 1}]}

    for read in (BASKET.to_json, BASKET.encode, BASKET.from_json):
        with pytest.raises(InvalidPayload, match="#/items/0/theNumber: Field required"):
            read(unlike)


def test_a_copy_with_a_wrong_value_is_not_sent() -> None:
    item = Item(number=1)
    basket = Basket(items=[item]).model_copy(update={"items": [item.model_copy(update={"number": "secret"})]})

    with pytest.raises(InvalidPayload, match=r"the basket .*#/items/0/") as caught:
        BASKET.encode(basket)
    assert "secret" not in str(caught.value)


@dataclass
class Lookalike:
    """Has the fields of a basket, but is none."""

    items: tuple[Item, ...] = ()
    kind: str = "small"


@pytest.mark.parametrize(
    "value",
    [
        Lookalike(),
        ValueError("secret"),
        ExceptionGroup("secret", [ValueError()]),
        Basket,
        int,
        math,
        lambda: 1,
        MagicMock(),
        SimpleNamespace(items=[]),
        object(),
        MappingProxyType({"items": []}),
        5,
        None,
    ],
)
def test_an_object_of_another_class_is_refused(value: Any) -> None:
    with pytest.raises(InvalidPayload, match="the basket") as caught:
        BASKET.encode(value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b"\xff",
        b'{"items":[{"theNumber":"7"}]}',
        b'{"items":[{"theNumber":-1}]}',
        b'{"items":[{"theNumber":true}]}',
        b'{"items":{}}',
        b'{"items":[],"kind":"medium"}',
        b'{"items":[],"at":"2026-07-01T10:00:00"}',
        b"[" * 100_000,
        b'{"items":' + b"[" * 100_000,
        b'{"items":[],"kind":"\\ud800"}',
        b'{"items":[],"ignored":NaN}',
        b'{"items":[],"ignored":[-Infinity]}',
        b'{"items":[{"theNumber":1,"price":1e400}]}',
    ],
)
def test_what_does_not_match_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidPayload, match="the basket does not match its schema"):
        BASKET.decode(data)


def test_the_invalid_value_is_never_in_the_error() -> None:
    with pytest.raises(InvalidPayload) as caught:
        BASKET.decode(b'{"items":[{"theNumber":"hunter2"}],"kind":"hunter3"}')

    assert "hunter" not in str(caught.value)
    assert [place for place, _ in caught.value.issues] == ["#/items/0/theNumber", "#/kind"]


def test_an_object_of_another_class_is_named() -> None:
    with pytest.raises(InvalidPayload, match=r"#: Basket is expected, got Item") as caught:
        BASKET.encode(Item(number=7))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - the mistake under test

    assert [place for place, _ in caught.value.issues] == ["#", "#/items"]


@pytest.mark.parametrize("value", [None, 3, "text", [Basket]], ids=lambda value: type(value).__name__)
def test_a_value_that_is_not_an_object_is_named_by_its_class(value: object) -> None:
    with pytest.raises(InvalidPayload, match=f"#: Basket is expected, got {type(value).__name__}"):
        BASKET.encode(value)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - the mistake under test


async def test_a_missing_await_is_named() -> None:
    reading = asyncio.sleep(0)
    with pytest.raises(InvalidPayload, match="#: Basket is expected, got coroutine: await it"):
        BASKET.encode(reading)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - the mistake under test
    reading.close()


@pytest.mark.parametrize("value", [math.nan, math.inf, [math.nan], {"deep": [-math.inf]}])
def test_numbers_that_json_does_not_have_are_refused(value: JsonValue) -> None:
    with pytest.raises(InvalidPayload, match="a value"):
        JSON.encode(value)
    with pytest.raises(InvalidPayload, match="a value"):
        JSON.to_json(value)


class Measure(Model):
    size: float | None = None
    extra: JsonValue = None


@pytest.mark.parametrize(
    "value",
    [
        Measure.model_construct(size=math.nan),
        Measure.model_construct(extra=math.inf),
        Measure.model_construct(size=None, extra={"deep": [math.nan]}),
    ],
)
def test_a_number_that_json_does_not_have_is_not_written_as_null(value: Measure) -> None:
    with pytest.raises(InvalidPayload, match="a measure"):
        Codec[Measure](Measure, what="a measure").encode(value)


@pytest.mark.parametrize("extra", [None, "NaN"])
def test_what_can_be_read_only_once_is_not_sent_empty(extra: str | None) -> None:
    basket = Basket.model_construct(items=(item for item in [Item(number=1, note=extra)]))  # pyright: ignore[reportArgumentType] - the user's mistake  # type: ignore[arg-type]

    with pytest.raises(InvalidPayload, match="the basket"):
        BASKET.encode(basket)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)
)
def test_a_value_is_the_same_whether_it_is_encoded_or_written(value: JsonValue) -> None:
    try:
        written = JSON.write(value).text
    except InvalidPayload:
        with pytest.raises(InvalidPayload):
            JSON.encode(value)
    else:
        assert JSON.encode(value) == written


@pytest.mark.parametrize("data", [b"NaN", b"[Infinity]", b"{", b"[" * 100_000])
def test_text_that_is_not_json_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="column"):
        decode_json(data)


def test_an_aware_instant_keeps_its_instant() -> None:
    basket = BASKET.decode(b'{"items":[],"at":"2026-07-01T12:00:00+02:00"}')

    assert basket.at == datetime(2026, 7, 1, 10, tzinfo=UTC)


def test_the_names_of_such_numbers_are_words_like_others() -> None:
    value: JsonValue = {"NaN": ["Infinity", "\u00e9\u2028", 10**40]}

    assert decode_json(encode_json(value)) == value


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        encode_json("\ud800")


def issues_of(codec: Codec[Any], data: bytes) -> tuple[tuple[str, str], ...]:
    with pytest.raises(InvalidPayload) as caught:
        codec.decode(data)
    assert len(str(caught.value)) < 12_000
    return caught.value.issues


def test_of_many_places_a_hundred_are_listed() -> None:
    issues = issues_of(Codec[list[int]](list[int], what="numbers"), b"[%b0]" % (b'"",' * 130))

    assert len(issues) == 101
    assert issues[99][0] == "#/99"
    assert issues[100] == ("#", "does not match in 30 more places")


def test_of_very_many_places_only_their_number_is_given() -> None:
    issues = issues_of(Codec[list[int]](list[int], what="numbers"), b"[%b0]" % (b'"",' * 20_000))

    assert issues == (("#", "does not match in 20000 places"),)


class Closed(Model):
    """Forbids other members."""

    model_config = ConfigDict(extra="forbid")


@given(st.lists(st.text(max_size=5).map(lambda name: name * 400), min_size=1))
def test_a_place_is_short_and_one_line_whatever_the_sender_calls_its_members(names: list[str]) -> None:
    nested: JsonValue = 1
    for name in names[:20]:
        nested = {name: nested}
    data = encode_json([dict.fromkeys(names, 1), nested])
    issues = issues_of(Codec[list[Closed]](list[Closed], what="values"), data)

    for place, message in issues:
        assert place.isprintable()
        assert max(len(place), len(message)) <= 501


def test_an_error_does_not_keep_what_it_is_about() -> None:
    with pytest.raises(InvalidPayload) as caught:
        Codec[int](int, what="a number").decode(b'"text"')
    assert caught.value.__context__ is None
    with pytest.raises(InvalidPayload) as caught:
        Codec[Any](int, what="a number").write("text")
    assert caught.value.__context__ is None
