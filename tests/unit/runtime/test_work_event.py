"""A work message is decoded in one pass, with the same result as parsing its event and then its payload."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field, JsonValue
from trellis_nats import InvalidPayload, Model
from trellis_nats.codec import Codec, encode_json
from trellis_nats.context import new_context
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.work_event import WorkEventReader
from trellis_nats.json_types import Exact, Integer, NotNull
from typing_extensions import TypedDict

from tests.support.payload_readers import OWN, reader_of

AT = datetime(2026, 7, 1, 10, tzinfo=UTC)
JOB = JobIdentity(job_id="J1", service="s", queue="q", context=new_context())


class Leaf(Model):
    number: Annotated[Integer, Field(alias="theNumber")]
    at: AwareDatetime | None = None
    ratio: float = 0.0
    kind: Annotated[Literal[1, 2], Exact] = 1
    note: Annotated[str | None, NotNull] = None
    rest: JsonValue = None


class Tree(Model):
    leaves: Annotated[list[Leaf], Field(default_factory=list[Leaf])]
    trees: Annotated[list[Tree], Field(default_factory=list)]


class Plain(BaseModel):
    """A model of the user's own, with pydantic's own configuration."""

    number: float = 0.0


class Members(TypedDict, total=False):
    number: int
    at: AwareDatetime


@dataclass
class Record:
    number: int


SHAPES: list[Any] = [
    Leaf,
    Tree,
    Plain,
    Members,
    Record,
    JsonValue,
    list[Leaf],
    dict[str, float],
    Leaf | Plain,
    tuple[int, str],
    int | None,
]


def message(payload: bytes) -> bytes:
    event = JOB.created(
        encode_json(None), max_tries=3, deadline=None, trigger={"kind": "serviceCode"}, lineage=None, at=AT
    )
    return event.encode().replace(b'"payload":null', b'"payload":' + payload)


def decode_apart(codec: Codec[Any], data: bytes) -> object:
    """Parse the event, then encode and validate its payload, as it was done in two passes."""
    event = LifecycleEvent.parse(data)
    if event is None:
        return "no event"
    try:
        return codec.from_json(event.payload)
    except InvalidPayload as error:
        return str(error)


def decode_together(codec: Codec[Any], data: bytes) -> object:
    reader = WorkEventReader(reader_of(codec))
    event = reader.read(data, OWN)
    if event is None:
        return "no event"
    try:
        return reader.payload(event, OWN).value
    except InvalidPayload as error:
        return str(error)


numbers = st.one_of(
    st.integers(), st.integers(10**300, 10**310), st.floats(allow_nan=False, allow_infinity=False)
)
texts = st.one_of(
    st.text(max_size=5), st.sampled_from(["2026-07-01T10:00:00Z", "NaN", "1e999", "7", "x" * 500 + "e400,"])
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["theNumber", "number", "at", "ratio", "kind", "note", "rest", "leaves", "trees", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(value=values)
def test_one_pass_gives_what_two_passes_give(shape: Any, value: JsonValue) -> None:
    codec = Codec[Any](shape, what="the payload")
    data = message(encode_json(value))

    assert decode_together(codec, data) == decode_apart(codec, data)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "payload",
    [
        b'{"theNumber":1.0}',
        b'{"theNumber":1,"rest":1e999}',
        b'{"theNumber":1,"rest":[1E+400, 2]}',
        b'{"theNumber":1,"rest":-Infinity}',
        b'{"number":1e400}',
        b'{"number":NaN}',
        b'{"number":%b.5}' % (b"9" * 400),
        b'{"theNumber":1,"rest":%b.5}' % (b"9" * 309),
        b'{"x":%b.5}' % (b"9" * 309),
        b'{"x":%b}' % (b"9" * 309),
        b'[1,"x"]',
        b'{"theNumber":1,"at":"2026-07-01T10:00:00Z","unknown":1}',
        b'{"number":1,"unknown":1}',
        b'{"theNumber":1,"kind":true}',
        b'{"theNumber":1,"note":null}',
        b'{"leaves":[{"theNumber":1}],"trees":[{"trees":[{"leaves":[]}]}]}',
        b'{"theNumber":1,"theNumber":2}',
        b"null",
        b"[" * 1000,
    ],
    ids=lambda payload: payload[:40],
)
def test_what_is_not_ordinary_is_treated_as_before(shape: Any, payload: bytes) -> None:
    codec = Codec[Any](shape, what="the payload")

    assert decode_together(codec, message(payload)) == decode_apart(codec, message(payload))


@pytest.mark.parametrize("digits", [208, 209, 210, 211, 219])
def test_many_digits_and_a_short_exponent_are_too_much_wherever_they_stand(digits: int) -> None:
    codec = Codec[Plain](Plain, what="the payload")

    for place in range(200):
        data = message(b'{"x":"%b","number":%be99}' % (b"x" * place, b"9" * digits))

        assert decode_together(codec, data) == decode_apart(codec, data)


@pytest.mark.parametrize(
    ("shape", "payload", "expected"),
    [
        (Leaf, b'{"theNumber":7,"rest":{"e123":1}}', Leaf(number=7, rest={"e123": 1})),
        (Tree, b'{"trees":[{"trees":[]}]}', Tree(leaves=[], trees=[Tree(leaves=[], trees=[])])),
        (Plain, b'{"number":1e99}', Plain(number=1e99)),
        (Members, b'{"number":1,"unknown":2}', {"number": 1}),
        (Record, b'{"number":1}', Record(1)),
        (JsonValue, b'{"x":[1.5]}', {"x": [1.5]}),
        (list[Leaf], b'[{"theNumber":7}]', [Leaf(number=7)]),
        (dict[str, float], b'{"x":1}', {"x": 1.0}),
        (Leaf | Plain, b'{"theNumber":7}', Leaf(number=7)),
        (tuple[int, str], b'[1,"x"]', (1, "x")),
        (int | None, b"1", 1),
    ],
    ids=str,
)
def test_an_ordinary_payload_is_decoded_once_and_not_encoded_again(
    monkeypatch: pytest.MonkeyPatch, shape: Any, payload: bytes, expected: object
) -> None:
    reader = WorkEventReader(reader_of(Codec[Any](shape, what="the payload")))
    monkeypatch.setattr(Codec, "from_json", None)
    monkeypatch.setattr(LifecycleEvent, "parse", None)

    event = reader.read(message(payload), OWN)

    assert event is not None
    assert reader.payload(event, OWN).value == expected


def test_a_validator_that_raises_anything_raises_it_when_the_payload_is_asked_for() -> None:
    def fail(value: object) -> object:
        raise RuntimeError("no")

    reader = WorkEventReader(reader_of(Codec[int](Annotated[int, BeforeValidator(fail)], what="the payload")))
    event = reader.read(message(b"1"), OWN)

    assert event is not None
    with pytest.raises(RuntimeError, match="no"):
        reader.payload(event, OWN)


def test_the_payload_as_json_is_the_text_of_the_message() -> None:
    reader = WorkEventReader(reader_of(Codec[Leaf](Leaf, what="the payload")))
    data = message(b'{"theNumber":1.0,"at":"2026-07-01T10:00:00Z"}')
    event = reader.read(data, OWN)

    assert event is not None
    assert (
        json.dumps(reader.payload_json(event, data, OWN))
        == '{"theNumber": 1.0, "at": "2026-07-01T10:00:00Z"}'
    )
