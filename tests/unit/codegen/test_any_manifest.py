"""Whatever a manifest holds, the generator ends with a package or with problems, never with a traceback."""

import copy
import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.facade import run
from trellis_codegen.cli.requests import Mode, Request
from trellis_codegen.cli.targets import Choices

CASES = Path(__file__).parents[2] / "golden" / "cases"
MANIFESTS: list[JsonValue] = [json.loads(path.read_text()) for path in sorted(CASES.glob("*/manifest.json"))]

ODDITIES: list[JsonValue] = [
    None, True, False, 0, -1, 1.5, 1e300, 2**70, "", "class", "model_dump", "名", "\u202e", [], {}, [None], {"a": 1},
    {"$ref": "#"}, {"$ref": "#/schemas"}, {"$ref": "#/properties/a"}, {"anyOf": []}, {"anyOf": [True, False]},
    {"allOf": [{"type": "string"}, {"type": "object", "properties": {}}]}, {"type": ["object", "null"], "properties": {"a": {}}},
    {"type": "nope"}, {"type": []}, {"enum": [[1], {}]}, {"const": 1.5}, {"type": "string", "pattern": "["},
    {"type": "integer", "minimum": "3"}, {"type": "number", "multipleOf": 0}, {"type": "string", "maxLength": 2**70},
    {"properties": {"a": {"$ref": "#/properties/a"}}}, {"required": [3], "properties": {"a": {}}}, {"format": "date", "type": "integer"},
    {"type": "array", "items": [{"type": "string"}]}, {"patternProperties": {"a": {}, "b": {}}}, {"type": "integer", "default": {}},
]  # fmt: skip

Pointer = tuple[str | int, ...]


def pointers(value: JsonValue, pointer: Pointer = ()) -> list[Pointer]:
    inside: list[Pointer] = []
    if isinstance(value, dict):
        inside = [each for name, child in value.items() for each in pointers(child, (*pointer, name))]
    if isinstance(value, list):
        inside = [each for index, child in enumerate(value) for each in pointers(child, (*pointer, index))]
    return [pointer, *inside]


def replaced(document: JsonValue, pointer: Pointer, oddity: JsonValue) -> JsonValue:
    if not pointer:
        return oddity
    result = copy.copy(document)
    step = pointer[0]
    if isinstance(result, dict) and isinstance(step, str):
        result[step] = replaced(result[step], pointer[1:], oddity)
    if isinstance(result, list) and isinstance(step, int):
        result[step] = replaced(result[step], pointer[1:], oddity)
    return result


@st.composite
def odd_manifests(draw: st.DrawFn) -> JsonValue:
    document = draw(st.sampled_from(MANIFESTS))
    return replaced(document, draw(st.sampled_from(pointers(document))), draw(st.sampled_from(ODDITIES)))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd_manifests())
def test_it_becomes_a_package_or_problems(tmp_path: Path, document: JsonValue) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(document))

    choices = Choices(manifest=manifest, out=tmp_path, package="odd")

    assert run(Request(choices=choices, mode=Mode.CHECK)) in (ExitCode.DRIFT, ExitCode.INVALID)
