"""The manifests that other generators and readers fail on, where they are next to the repository."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import JsonValue, TypeAdapter, ValidationError

from tests.support.generated import adapter, generated
from trellis_codegen.problems import Problem

CASES = Path(__file__).parents[3].parent / "shared" / "cases" / "generator"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="shared/cases is not next to the repository")


class Expected(NamedTuple):
    """What a manifest must lead to."""

    right: list[JsonValue]
    """Payloads that are read and written again."""
    wrong: list[JsonValue]
    """Payloads that are refused."""
    warned: tuple[str, ...] = ()
    """The places of warnings, inside of the payload's schema."""


EXPECTED: dict[str, Expected] = {
    "d01a_root_ref_recursive": Expected([{}, {"value": 1, "next": {"value": 2, "next": None}}], [{"value": "a"}, {"next": {"value": "a"}}]),
    "d01b_root_list_of_recursive": Expected([[], [{"value": 1, "next": {"value": 2}}]], [{}, [{"next": 1}]]),
    "d04a_root_object_or_null": Expected([None, {}, {"a": "x"}], [{"a": 1}, []]),
    "d05a_nullable_one_of_required": Expected([{}, {"m": None}, {"m": {"a": "x"}}, {"m": {"b": "x"}}], [{"m": {}}, {"m": {"a": 1}}]),
    "d05b_two_lists": Expected([{"m": [{"a": "x"}]}, {"m": [{"b": "x"}]}], [{"m": [{}]}, {"m": {}}]),
    "d06a_ref_with_sibling_pattern": Expected([{"n": "ab"}], [{"n": "c"}, {"n": 1}], ("properties/n/pattern",)),
    "d06b_allof_objects_two_patterns": Expected([{"n": "ab"}], [{"n": "c"}, {}], ("allOf/1/properties/n/pattern",)),
    "d06c_items_two_unions": Expected([[], [1, 2]], [["a"], [True], [1.5]]),
    "d06g_whole_payload_untyped_announced": Expected([{"n": "x", "a": 1, "c": 2}, {"n": "x", "b": 1, "d": None}], [{"n": "x"}, {"n": "x", "a": 1}, {"n": 1, "a": 1, "c": 1}, 1]),
    "d07a_union_loses_members": Expected([{"bar": 1, "foo": "x"}], [{}, {"bar": "x"}]),
    "d07b_x_members_unreadable": Expected([{"a": "x", "x-b": "y"}], [{"a": 1}], ("patternProperties",)),
    "d07c_additional_true_unreadable": Expected([{"a": "x", "b": [1]}], [{"a": 1}]),
    "d08a_enum_10000": Expected(["v0", "v9999"], ["v10000", 1]),
    "d11a_recursive_map": Expected([{}, {"t": {"a": {"b": {}}}}], [{"t": {"a": 1}}]),
    "d16_nan_in_any": Expected([{}, {"any": [1, None]}], []),
}  # fmt: skip


def package_of(case: str, folder: Path) -> tuple[TypeAdapter[object], list[Problem]]:
    package, remarks = generated(json.loads((CASES / f"{case}.manifest.json").read_text()), folder)
    return adapter(package, "Payload"), remarks


@pytest.mark.parametrize("case", EXPECTED)
def test_a_case_is_generated_and_means_what_its_schema_says(case: str, tmp_path: Path) -> None:
    started = time.process_time()
    model, remarks = package_of(case, tmp_path)
    taken = time.process_time() - started

    assert ["/".join(map(str, remark.pointer[2:])) for remark in remarks] == [*EXPECTED[case].warned]
    assert taken < 15  # 52 s before the enumeration of 10,000 values was compared in linear time
    for value in EXPECTED[case].right:
        read = model.validate_json(json.dumps(value), strict=True)
        assert model.dump_python(read, mode="json", by_alias=True, exclude_unset=True) == value
    for value in EXPECTED[case].wrong:
        with pytest.raises(ValidationError):
            model.validate_json(json.dumps(value), strict=True)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_free_form_values_have_no_nan(number: str, tmp_path: Path) -> None:
    model, _ = package_of("d16_nan_in_any", tmp_path)

    with pytest.raises(ValidationError):
        model.validate_json(f'{{"any":[{number}]}}', strict=True)
