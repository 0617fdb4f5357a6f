"""Every rule has a change that it reports and a neighbour that it does not; nothing else is reported."""

import json
from pathlib import Path
from typing import Final

import pytest
from pydantic import JsonValue

from tests.support.rule_contracts import USES, JsonObject, complete
from trellis_codegen.breaking.comparison import compare_contracts
from trellis_codegen.breaking.findings import Finding
from trellis_codegen.breaking.rules.contract_examples import CONTRACT_EXAMPLES
from trellis_codegen.breaking.rules.contract_rules import CONTRACT_RULES
from trellis_codegen.breaking.rules.grades import SURFACES, Column, Deploy, Grade
from trellis_codegen.breaking.rules.rule import SchemaClass
from trellis_codegen.breaking.rules.schema_examples import SCHEMA_EXAMPLES
from trellis_codegen.breaking.rules.schema_rules import SCHEMA_RULES
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.reading import read_manifest

MANIFESTS: Final = Path(__file__).parents[4].parent / "shared" / "conformance" / "manifests"


def manifest(fragment: JsonObject) -> Manifest:
    return read_manifest(json.dumps(complete(fragment)).encode()).manifest


def using(prefix: str, schema: JsonValue) -> Manifest:
    return manifest({**USES[prefix], "schemas": {"Value": schema, "Any": True}, "exports": {}})


def compare_schemas(
    prefix: str, old: JsonValue, new: JsonValue, deploy: Deploy = Deploy.ROLLING
) -> dict[str, Finding]:
    found = compare_contracts(using(prefix, old), using(prefix, new), deploy)
    assert all(finding.rule.startswith(f"{prefix}_") for finding in found)
    return {finding.rule.removeprefix(f"{prefix}_"): finding for finding in found}


def compare(old: JsonObject, new: JsonObject) -> dict[str, Finding]:
    found = compare_contracts(manifest(old), manifest(new))
    return {finding.rule: finding for finding in found}


def test_every_rule_has_an_example_and_every_example_a_rule() -> None:
    assert SCHEMA_EXAMPLES.keys() == SCHEMA_RULES.keys()
    assert CONTRACT_EXAMPLES.keys() == CONTRACT_RULES.keys()
    assert USES.keys() == SURFACES.keys()


@pytest.mark.parametrize("rule", SCHEMA_RULES)
def test_a_schema_rule_reports_its_change_and_nothing_else(rule: str) -> None:
    example = SCHEMA_EXAMPLES[rule]
    old, new = example.fails

    found = compare_schemas(example.prefix, old, new)

    assert found.keys() == {rule, *example.also}
    finding = found[rule]
    expected = {SchemaClass.MEANING: Grade.RISKY, SchemaClass.SAFE: Grade.SAFE}
    is_closed = rule in ("FIELD_OPTIONAL_ADDED", "FIELD_OPTIONAL_REMOVED")
    assert finding.grade is (Grade.BREAK if is_closed else expected.get(SCHEMA_RULES[rule].kind, Grade.BREAK))
    assert "{" not in finding.message
    assert bool(finding.remedy) is (finding.grade is not Grade.SAFE)
    if finding.grade is Grade.BREAK:
        assert finding.columns
        assert bool(finding.witnesses) is (rule != "NOT_DECIDED")
        assert finding.decided is (rule != "NOT_DECIDED")


@pytest.mark.parametrize("rule", SCHEMA_RULES)
def test_a_schema_rule_is_silent_about_the_neighbour(rule: str) -> None:
    example = SCHEMA_EXAMPLES[rule]

    found = compare_schemas(example.prefix, *example.passes)

    assert rule not in found or found[rule].grade is Grade.SAFE


@pytest.mark.parametrize("rule", SCHEMA_RULES)
def test_events_break_in_both_directions(rule: str) -> None:
    """The stream keeps what the old contract wrote, and old listeners read what the new one writes."""
    old, new = SCHEMA_EXAMPLES[rule].fails
    kind = SCHEMA_RULES[rule].kind

    for pair in ((old, new), (new, old)):
        found = compare_schemas("EVENT", *pair)
        if kind in (SchemaClass.NARROWER, SchemaClass.WIDER, SchemaClass.BOTH):
            assert max(finding.grade.weight for finding in found.values()) == Grade.BREAK.weight
    assert compare_schemas("EVENT", old, old) == {}


@pytest.mark.parametrize("rule", SCHEMA_RULES)
def test_an_upcaster_helps_old_payloads_of_jobs_only(rule: str) -> None:
    one, other = SCHEMA_EXAMPLES[rule].fails
    for old, new in ((one, other), (other, one)):
        for prefix in ("JOB_PAYLOAD", "JOB_RESULT", "OPERATION_INPUT"):
            for finding in compare_schemas(prefix, old, new).values():
                fails = Column.QUEUED in finding.columns and finding.grade is Grade.BREAK
                loses = finding.rule.endswith("FIELD_OPTIONAL_RENAMED")
                assert finding.has_upcast is (prefix == "JOB_PAYLOAD" and (fails or loses))


@pytest.mark.parametrize("rule", CONTRACT_RULES)
def test_a_contract_rule_reports_its_change_and_nothing_else(rule: str) -> None:
    example = CONTRACT_EXAMPLES[rule]

    found = compare(*example.fails)

    assert found.keys() == {rule, *example.also}
    finding = found[rule]
    assert finding.grade is CONTRACT_RULES[rule].grade
    assert "{" not in finding.message
    assert bool(finding.remedy) is (finding.grade is not Grade.SAFE)
    assert finding.pointer is not None or finding.old_pointer is not None


@pytest.mark.parametrize("rule", CONTRACT_RULES)
def test_a_contract_rule_is_silent_about_the_neighbour(rule: str) -> None:
    example = CONTRACT_EXAMPLES[rule]

    found = compare(*example.passes)
    is_safe = CONTRACT_RULES[rule].grade is Grade.SAFE
    assert rule not in found or (not is_safe and found[rule].grade is Grade.SAFE)
    assert compare(example.fails[0], example.fails[0]) == {}
    compare(*reversed(example.fails))


@pytest.mark.parametrize("prefix", SURFACES)
def test_a_narrower_and_a_wider_schema_break_whom_the_surface_names(prefix: str) -> None:
    kind = SURFACES[prefix]
    text: JsonValue = {"type": "string", "maxLength": 5}
    longer: JsonValue = {"type": "string", "maxLength": 6}

    narrower = compare_schemas(prefix, longer, text)["LENGTH_NARROWED"]
    wider = compare_schemas(prefix, text, longer)["LENGTH_WIDENED"]

    assert (narrower.grade, narrower.columns) == (kind.forward.grade, kind.forward.columns)
    assert (wider.grade, wider.columns) == (kind.backward.grade, kind.backward.columns)
    assert [value for _, value in narrower.witnesses] == ["aaaaaa"]


@pytest.mark.parametrize("prefix", SURFACES)
def test_what_needs_both_versions_is_safe_if_all_instances_stop_first(prefix: str) -> None:
    kind = SURFACES[prefix]
    text: JsonValue = {"type": "string", "maxLength": 5}
    longer: JsonValue = {"type": "string", "maxLength": 6}

    wider = compare_schemas(prefix, text, longer, Deploy.STOP)["LENGTH_WIDENED"]

    assert wider.grade is (Grade.SAFE if kind.backward.only_during_deploy else kind.backward.grade)


@pytest.mark.skipif(not MANIFESTS.exists(), reason="the recorded manifests are not next to this checkout")
def test_a_real_contract_breaks_nothing_of_itself() -> None:
    for path in sorted(MANIFESTS.glob("*.json")):
        real = read_manifest(path.read_bytes()).manifest
        assert compare_contracts(real, real) == []
        reworded = real.model_copy(update={"schemas": reword(real.schemas or {})})
        found = {
            finding.rule.partition("_")[2]: finding.grade for finding in compare_contracts(real, reworded)
        }
        assert {*found.values()} <= {Grade.SAFE}, path.name
        assert all(rule.endswith("WORDS_CHANGED") for rule in found)


def reword(schemas: JsonObject) -> JsonObject:
    """Return schemas with other words, so that they are compared and not skipped."""
    return {
        name: {**schema, "description": "Other words."} if isinstance(schema, dict) else schema
        for name, schema in schemas.items()
    }


@pytest.mark.parametrize(("prefix", "has_versions"), [("KV_VALUE", False), ("STATE_VALUE", True)])
def test_the_remedy_of_a_stored_value_fits_its_store(prefix: str, has_versions: bool) -> None:
    (finding,) = compare_schemas(prefix, {"enum": ["a", "b"]}, {"enum": ["a"]}).values()

    assert any("stateVersion" in step for step in finding.remedy) is has_versions
