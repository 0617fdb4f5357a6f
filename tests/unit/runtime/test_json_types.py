"""The types of generated models mean what JSON Schema means."""

from __future__ import annotations

import math

import pydantic
import pytest
from pydantic import TypeAdapter, ValidationError
from trellis_nats import InvalidPayload, Model, json_types
from trellis_nats.codec import Codec


class Holder(Model):
    anything: json_types.JsonValue = None


ANYTHING: TypeAdapter[pydantic.JsonValue] = TypeAdapter(json_types.JsonValue)
NUMBER: TypeAdapter[float] = TypeAdapter(json_types.Number)
HOLDER: TypeAdapter[Holder] = TypeAdapter(Holder)

INFINITE = ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"]


@pytest.mark.parametrize("text", INFINITE)
def test_json_has_no_nan_and_no_infinity(text: str) -> None:
    with pytest.raises(ValidationError, match="finite"):
        NUMBER.validate_json(text)
    for value in (text, f"[{text}]", f'{{"a":[1,{text}]}}'):
        with pytest.raises(ValidationError, match="not finite"):
            ANYTHING.validate_json(value)
        with pytest.raises(ValidationError, match="not finite"):
            HOLDER.validate_json(f'{{"anything":{value}}}')


@pytest.mark.parametrize("text", INFINITE)
def test_a_codec_refuses_them_too(text: str) -> None:
    for codec in (Codec[float](json_types.Number, what="it"), Codec[object](json_types.JsonValue, what="it")):
        with pytest.raises(InvalidPayload):
            codec.decode(text.encode())


@pytest.mark.parametrize("value", [math.nan, math.inf, [1.0, -math.inf], {"a": {"b": math.nan}}])
def test_a_model_refuses_such_a_number_as_an_argument(value: pydantic.JsonValue) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Holder(anything=value)


@pytest.mark.parametrize("value", [None, True, 0, 1.5, 2**70, "NaN", ["Infinity"], {"NaN": {"a": [-0.5]}}])
def test_everything_else_is_kept(value: pydantic.JsonValue) -> None:
    assert Holder(anything=value).anything == value
    assert HOLDER.validate_json(HOLDER.dump_json(Holder(anything=value))).anything == value
