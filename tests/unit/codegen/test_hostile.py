"""Whatever a contract calls things and says of them, its words stay words: every generated file is parsed back."""

from __future__ import annotations

import ast
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from tests.unit.codegen.contracts import JsonObject, contract, job, rpc
from tests.unit.codegen.test_agreement import FEW
from trellis_codegen.contract.reading import read_manifest
from trellis_codegen.plan.package import plan_package
from trellis_codegen.problems import ProblemsFound
from trellis_codegen.render.package import render_package

HOSTILE = st.text(
    st.sampled_from([*"\"'\\\n\r\t {}%#()[]:;=,.ab\0\x07\x1b\x85\u2028\u202e\u2066\ufeff\U000e0001é名"]), max_size=24
) | st.sampled_from(
    ['"""', "'''", '\\"""', "\\", '"', "{{ 7*7 }}", "{% raw %}", "{# #}", "\n    import os", '")\nimport os\n("', "\\N{DIGIT ONE}", "\\x22", "# type: ignore", "f{x}"]
)  # fmt: skip
WORDS = HOSTILE.map(lambda text: f"x{text}")
MODULES = {"__future__", "datetime", "typing", "uuid", "pydantic", "trellis_nats", "trellis_nats.json_types"}
CALLS = {
    "Annotated", "BucketSpec", "Contract", "EventSpec", "Exact", "Field", "JobSpec", "KeySpec", "OneOf", "RpcSpec", "timedelta", "cast",
    "super",
}  # fmt: skip


@st.composite
def hostile_contracts(draw: st.DrawFn) -> JsonObject:
    def text() -> str:
        return draw(WORDS)

    name = text
    field, nested = name(), name()
    inner: JsonObject = {"type": "object", "description": text(), "properties": {nested: {"const": text()}}}
    thing: JsonObject = {
        "type": "object",
        "title": text(),
        "description": text(),
        "properties": {
            field: {"type": "string", "description": text(), "default": text()},
            f"{field}s": {"type": "array", "items": inner},
            f"b{name()}": {"enum": [text(), text(), 1.5]},
            f"c{name()}": {"anyOf": [inner, {"type": "object", "properties": {"kind": {"const": text()}}}]},
        },
    }
    docs: JsonObject = {"summary": text(), "markdown": text()}
    things: JsonObject = {"Thing": thing, f"Y{name()}": {"const": text()}}
    error: JsonObject = {"type": f"E{name()}", "schema": {"schema": "Thing"}}
    return contract(
        displayName=text(),
        description=text(),
        docs=docs,
        schemas=things,
        jobs={"keep": job(docs=docs, keyConcurrency={"key": [text()]})},
        rpc={"A.b": rpc("A.b", docs=docs, errors=[{"type": error["type"]}])},
        errors={"e": error},
        resources={"kv": {f"k{name()}": {"purpose": text(), "docs": docs}}},
    )


def judged(name: str, text: str) -> None:
    """Refuse a file that imports or calls anything but what generated code is made of."""
    for node in ast.walk(ast.parse(text, filename=name)):
        assert not isinstance(node, ast.Import)
        if isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module in MODULES
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            own = node.func.id.endswith(
                ("Queue", "Calls", "Endpoints", "Publishers", "Sources", "Buckets", "JobsFacade")
            )
            assert own or node.func.id in CALLS, ast.unparse(node)
        assert not isinstance(node, ast.Global | ast.Await | ast.With | ast.Try | ast.Lambda | ast.JoinedStr)
    for character in text:
        assert character.isprintable() or character == "\n", (name, character)


@settings(
    max_examples=FEW, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(hostile_contracts())
def test_no_text_of_a_contract_becomes_code(document: JsonValue) -> None:
    try:
        manifest = read_manifest(json.dumps(document).encode()).manifest
        plan, _ = plan_package(manifest, source='x"""\nimport os.json', package=None, generator="0")
    except ProblemsFound:
        return
    for name, text in render_package(plan).items():
        if name.endswith(".py"):
            judged(name, text)
