"""Schemas of unusual shapes become models that accept, keep and refuse what the schemas do."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue, TypeAdapter, ValidationError

from tests.support.generated import adapter, generated
from tests.support.judging import judge_of
from tests.unit.codegen.contracts import contract
from tests.unit.codegen.shapes import SHAPES


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TypeAdapter[object]]:
    schemas: dict[str, JsonValue] = {name: shape.schema for name, shape in SHAPES.items()}
    package, remarks = generated(contract(schemas=schemas), tmp_path_factory.mktemp("shapes"))
    assert [remark.what for remark in remarks] == []
    return {name: adapter(package, name) for name in schemas}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_accepts_what_its_schema_accepts(name: str, models: dict[str, TypeAdapter[object]]) -> None:
    model, judge = models[name], judge_of(SHAPES[name].schema)

    for value in SHAPES[name].right:
        assert judge.is_valid(value)
        read = model.validate_json(json.dumps(value), strict=True, by_name=False, by_alias=True)
        assert model.dump_python(read, mode="json", exclude_unset=True, warnings=False) == value


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_refuses_what_its_schema_refuses(name: str, models: dict[str, TypeAdapter[object]]) -> None:
    judge = judge_of(SHAPES[name].schema)

    for value in SHAPES[name].wrong:
        assert not judge.is_valid(value)
        with pytest.raises(ValidationError):
            models[name].validate_json(json.dumps(value), strict=True, by_name=False, by_alias=True)
