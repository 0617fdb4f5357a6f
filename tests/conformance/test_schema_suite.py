"""The JSON-Schema test suite as payloads: no crash, and no disagreement that the generator did not announce."""

import os
from pathlib import Path

import pytest

from tests.support.generated import adapter
from tests.support.schema_suite import DRAFTS, generate_cases, read_cases
from tests.support.type_checkers import run_mypy, run_pyright
from tests.unit.codegen.test_agreement import accepts

ROOT = Path(__file__).parents[2]
REFUSALS = (
    "is not allowed",  # a reference to a file, to the network, or by an anchor
    "does not exist in this schema",  # a reference that counts from a nested "$id"
    "would both become",
    "draft 4",
    "recursive",
    "must be a non-empty list",
    "can't be compiled",
)
"""Why a schema of the suite may be refused."""
KNOWN = {
    "float-overflow.json": "pydantic divides floats, and 1e308 / 0.5 is not finite; docs/reference/schemas.md says so",
    "zeroTerminatedFloats.json": "in draft 4 alone, 1.0 is not an integer; contracts follow draft 2020-12",
}
"""Disagreements that no warning announces: the file of the suite, and the reason."""

IS_LONG = bool(os.environ.get("ALL_DRAFTS"))
"""`make faults` takes all drafts, and gives their packages to the type checkers."""
TRIED = [draft for draft in DRAFTS if IS_LONG or draft.startswith("draft2020-12")]

pytestmark = [
    pytest.mark.skipif(not DRAFTS, reason="the JSON-Schema test suite is not here; make test installs it"),
    pytest.mark.timeout(600),
]


@pytest.mark.parametrize("draft", TRIED)
def test_every_disagreement_is_announced(draft: str, tmp_path: Path) -> None:
    for file in sorted(DRAFTS[draft].glob("*.json")):
        result = generate_cases(read_cases(file), tmp_path)
        assert [
            what for what in result.refused.values() if not any(words in what for words in REFUSALS)
        ] == []
        for name, case in result.accepted.items():
            assert result.package is not None
            model = adapter(result.package, name)
            wrong = [value for value in case["tests"] if accepts(model, value["data"]) is not value["valid"]]
            assert not wrong or name in result.warned or file.name in KNOWN, (
                file.name,
                case["description"],
                case["schema"],
                wrong,
            )


@pytest.mark.skipif(not IS_LONG, reason="the checkers take a minute; make faults runs it")
def test_every_accepted_schema_type_checks(tmp_path: Path) -> None:
    for draft in [draft for draft in DRAFTS if "/" not in draft]:
        for file in sorted(DRAFTS[draft].glob("*.json")):
            generate_cases(read_cases(file), tmp_path)

    assert run_pyright(tmp_path) == []
    printed = run_mypy(tmp_path)
    assert printed.startswith("Success"), printed
