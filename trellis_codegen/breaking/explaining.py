"""What a rule means, in full: for `--explain`, for SARIF, and for the reference."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pydantic import JsonValue

from trellis_codegen.breaking.rules.contract_examples import CONTRACT_EXAMPLES
from trellis_codegen.breaking.rules.contract_rules import CONTRACT_RULES
from trellis_codegen.breaking.rules.grades import (
    SURFACES,
    Column,
    Hit,
    SurfaceKind,
    describe_columns,
)
from trellis_codegen.breaking.rules.rule import (
    REMEDIES,
    UPCAST,
    ContractRule,
    Remedy,
    SchemaClass,
    SchemaRule,
)
from trellis_codegen.breaking.rules.schema_examples import SCHEMA_EXAMPLES
from trellis_codegen.breaking.rules.schema_rules import SCHEMA_RULES
from trellis_codegen.breaking.samples import SAMPLE_RULE

__all__ = ["describe_hit", "describe_message", "explain_rule", "list_rules", "show_example", "summarize_rule"]

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_SHOWN = {"who": "THEY"}
"""Placeholders that read better with another name."""
_SAMPLE = "a sample of real payloads (`--samples`) that only the old contract reads"
_SAMPLE_MEANING = (
    "`trellis audit export` wrote it from what was stored; the proof of the comparison may be about declared members only, and "
    "the sample may have others. It counts whatever the comparison says"
)
_CLASSES = {
    SchemaClass.NARROWER: "old values fail with the new model",
    SchemaClass.WIDER: "new values fail with the old model",
    SchemaClass.BOTH: "values of each fail with the model of the other",
    SchemaClass.MEANING: "nothing that the contract declares fails; it depends on what it does not say",
    SchemaClass.SAFE: "no value fails",
}


def list_rules() -> list[str]:
    """Return every id that a finding may have."""
    return [
        SAMPLE_RULE,
        *CONTRACT_RULES,
        *(f"{prefix}_{suffix}" for prefix in SURFACES for suffix in SCHEMA_RULES),
    ]


def summarize_rule(rule: str) -> str | None:
    """Return what a rule is about, in one line; None if there is no such rule. A suffix alone is a rule too."""
    surface, schema_rule = _find_schema_rule(rule)
    if schema_rule is not None:
        where = f" ({surface.what})" if surface else ""
        return f"{schema_rule.what}{where}"
    if rule == SAMPLE_RULE:
        return _SAMPLE
    found = CONTRACT_RULES.get(rule)
    return found.what if found else None


def explain_rule(rule: str) -> str | None:
    """Return what a rule means, who breaks and why, examples and the remedy; None if there is no such rule."""
    surface, schema_rule = _find_schema_rule(rule)
    if schema_rule is not None:
        return "\n".join(_explain_schema_rule(rule, schema_rule, surface))
    if rule == SAMPLE_RULE:
        return f"{rule}: {_SAMPLE}\n\n{describe_hit(SURFACES['JOB_PAYLOAD'].forward)}\n  {_SAMPLE_MEANING}"
    found = CONTRACT_RULES.get(rule)
    return "\n".join(_explain_contract_rule(found)) if found else None


def _find_schema_rule(rule: str) -> tuple[SurfaceKind | None, SchemaRule | None]:
    if rule in SCHEMA_RULES:
        return None, SCHEMA_RULES[rule]
    for prefix, surface in SURFACES.items():
        suffix = rule.removeprefix(f"{prefix}_")
        if suffix != rule and suffix in SCHEMA_RULES:
            return surface, SCHEMA_RULES[suffix]
    return None, None


def _explain_schema_rule(name: str, rule: SchemaRule, surface: SurfaceKind | None) -> Iterator[str]:
    yield f"{name}: {rule.what}"
    yield ""
    yield f"In general: {_CLASSES[rule.kind]}."
    for kind in [surface] if surface else SURFACES.values():
        if rule.kind is SchemaClass.SAFE:
            break
        yield f"  {kind.prefix} ({kind.what}):"
        if rule.kind is SchemaClass.MEANING:
            yield "    risky"
            continue
        if rule.kind is not SchemaClass.WIDER:
            yield f"    old values, new model: {describe_hit(kind.forward)}"
        if rule.kind is not SchemaClass.NARROWER:
            yield f"    new values, old model: {describe_hit(kind.backward)}"
    example = SCHEMA_EXAMPLES[rule.id]
    yield from _show_examples(example.fails, example.passes)
    yield from _show_remedy(rule.remedy)
    fails_old_values = rule.kind in (SchemaClass.NARROWER, SchemaClass.BOTH)
    if (fails_old_values or rule.loses_values) and (surface is None or surface.has_upcasters):
        yield ""
        yield f"{UPCAST}." if surface else f"{UPCAST} (payloads of jobs only)."


def _explain_contract_rule(rule: ContractRule) -> Iterator[str]:
    yield f"{rule.id}: {rule.what}"
    yield ""
    yield f"{rule.grade}: {_describe_who(rule.columns)}"
    yield f"  {describe_message(rule)}"
    example = CONTRACT_EXAMPLES[rule.id]
    yield from _show_examples(example.fails, example.passes)
    yield from _show_remedy(rule.remedy)


def describe_message(rule: ContractRule | SchemaRule) -> str:
    """Return what the findings of a rule say, with words in capitals where a finding has names and values: NAME, OLD, NEW."""
    return _PLACEHOLDER.sub(lambda found: _SHOWN.get(found[1], found[1].upper()), rule.message)


def describe_hit(hit: Hit) -> str:
    """Return how bad a failure is, and for whom."""
    when = ", while both versions run" if hit.only_during_deploy else ""
    return f"{hit.grade}: {describe_columns(hit.columns)}{when}"


def _describe_who(columns: tuple[Column, ...]) -> str:
    return describe_columns(columns) if columns else "it breaks nothing"


def _show_examples(fails: tuple[JsonValue, JsonValue], passes: tuple[JsonValue, JsonValue]) -> Iterator[str]:
    for title, pair in (("reported", fails), ("not reported", passes)):
        yield ""
        yield f"{title}:"
        yield f"  old  {show_example(pair[0])}"
        yield f"  new  {show_example(pair[1])}"


def show_example(value: JsonValue) -> str:
    """Return a schema or a fragment of a contract in one line."""
    return json.dumps(value, ensure_ascii=False)


def _show_remedy(remedy: Remedy) -> Iterator[str]:
    steps = REMEDIES[remedy]
    if steps:
        yield ""
        yield "in two steps:"
        yield from (f"  {number}. {step}" for number, step in enumerate(steps, start=1))
