"""Judges the comparison of schemas: what a generated model writes, the other generated model must read, unless it was said."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Final

from pydantic import JsonValue, TypeAdapter

from tests.support.generated import adapter, generated
from tests.support.judging import Judge, judge_of
from tests.support.model_values import REFUSED, drop_undeclared, read_value, write_value
from tests.support.schema_pairs import Pair, draw_pair, draw_values
from tests.unit.codegen.contracts import contract
from trellis_codegen.breaking.proof.covers import find_failures
from trellis_codegen.breaking.proof.evaluate import takes
from trellis_codegen.breaking.proof.kinds import Kind
from trellis_codegen.breaking.proof.models import read_model
from trellis_codegen.breaking.proof.witnesses import Witness, find_witness
from trellis_codegen.problems import ProblemsFound
from trellis_codegen.schemas.checking import check_schema

__all__ = ["Verdict", "judge_pairs"]

_AT_ONCE: Final = 60
"""How many pairs one generated package has."""
_VALUES: Final = 22


@dataclass(slots=True)
class Verdict:
    """What was counted, and what was wrong."""

    pairs: int = 0
    values: int = 0
    yes: int = 0
    no: int = 0
    undecided: int = 0
    undecided_edited: int = 0
    edited: int = 0
    seen: int = 0
    """Pairs whose break random values find."""
    seen_as_no: int = 0
    strict_yes: int = 0
    missed: list[str] = field(default_factory=list[str])
    """Breaks that the comparison does not know."""
    false_alarms: list[str] = field(default_factory=list[str])
    """Witnesses that the old model does not write, or that the new one reads."""
    drift: list[str] = field(default_factory=list[str])
    """Values for which the kinds and the model disagree."""

    def describe(self) -> str:
        """Return the counts in one line."""
        return (
            f"{self.pairs} pairs ({self.edited} edited), {self.values} values: {self.yes} yes, {self.no} no, "
            f"{self.undecided} undecided ({self.undecided_edited} edited), {self.strict_yes} yes with undeclared members; "
            f"values alone find {self.seen} breaks, {self.seen_as_no} of them were said; {len(self.missed)} missed, "
            f"{len(self.false_alarms)} false alarms, {len(self.drift)} values of another opinion"
        )


def judge_pairs(seeds: Iterable[int]) -> Verdict:
    """Draw the pairs of seeds, compare them, and judge the answers by the generated models."""
    verdict = Verdict()
    pairs: list[Pair] = []
    for seed in seeds:
        pair = draw_pair(seed)
        if _is_sound(pair.old) and _is_sound(pair.new):
            pairs.append(pair)
        if len(pairs) == _AT_ONCE:
            _judge_package(pairs, verdict)
            pairs = []
    _judge_package(pairs, verdict)
    return verdict


def _is_sound(schema: JsonValue) -> bool:
    if check_schema(schema, ()):
        return False
    try:
        read_model("Thing", schema, is_event=False)
    except ProblemsFound:
        return False
    return True


def _judge_package(pairs: Sequence[Pair], verdict: Verdict) -> None:
    schemas: dict[str, JsonValue] = {}
    for index, pair in enumerate(pairs):
        schemas |= {f"Old{index}": pair.old, f"New{index}": pair.new}
    with tempfile.TemporaryDirectory() as folder:
        package, _ = generated(contract(schemas=schemas), Path(folder))
        for index, pair in enumerate(pairs):
            _PairJudge(pair, package, index, verdict).judge()


class _PairJudge:
    """Judges one pair."""

    def __init__(self, pair: Pair, package: ModuleType, index: int, verdict: Verdict) -> None:
        self.pair, self.verdict = pair, verdict
        self.old_kind = read_model("Thing", pair.old, is_event=False).root
        self.new_kind = read_model("Thing", pair.new, is_event=False).root
        self.old, self.new = adapter(package, f"Old{index}"), adapter(package, f"New{index}")

    def judge(self) -> None:
        verdict = self.verdict
        failures = find_failures(self.old_kind, self.new_kind, undeclared=False)
        strict = find_failures(self.old_kind, self.new_kind, undeclared=True)
        alone = len(failures) == 1
        found = [
            find_witness(failure, self.old_kind, self.new_kind, undeclared=False, is_alone=alone)
            for failure in failures
        ]
        witnesses = [witness for witness in found if witness is not None]
        verdict.pairs += 1
        verdict.edited += self.pair.is_edited
        verdict.yes += not failures
        verdict.no += bool(witnesses)
        verdict.strict_yes += not strict
        if failures and not witnesses:
            verdict.undecided += 1
            verdict.undecided_edited += self.pair.is_edited
        for witness in witnesses:
            self._judge_witness(witness)
        is_seen = self._judge_values(is_yes=not failures, is_strict_yes=not strict)
        verdict.seen += is_seen
        verdict.seen_as_no += is_seen and bool(witnesses)

    def _judge_witness(self, witness: Witness) -> None:
        value = read_value(self.old, witness.value)
        if value is REFUSED:
            self._note(self.verdict.false_alarms, "the old model refuses", witness.value)
        elif read_value(self.new, write_value(self.old, value)) is not REFUSED:
            self._note(self.verdict.false_alarms, "the new model reads", witness.value)

    def _judge_values(self, *, is_yes: bool, is_strict_yes: bool) -> bool:
        is_seen = False
        judge: Judge = judge_of(self.pair.old)
        for value in draw_values(self.pair, _VALUES):
            self._judge_kind(self.old, self.old_kind, value)
            self._judge_kind(self.new, self.new_kind, value)
            read = read_value(self.old, value)
            if read is REFUSED:
                continue
            self.verdict.values += 1
            if is_strict_yes and judge.is_valid(value) and read_value(self.new, value) is REFUSED:
                self._note(self.verdict.missed, "missed with undeclared members", value)
            drop_undeclared(read)
            if read_value(self.new, write_value(self.old, read)) is REFUSED:
                is_seen = True
                if is_yes:
                    self._note(self.verdict.missed, "missed", value)
        return is_seen

    def _judge_kind(self, model: TypeAdapter[object], kind: Kind, value: JsonValue) -> None:
        if (read_value(model, value) is not REFUSED) is not takes(kind, value):
            self._note(self.verdict.drift, "the kind disagrees with the model", value)

    def _note(self, notes: list[str], what: str, value: JsonValue) -> None:
        sides = json.dumps([self.pair.old, self.pair.new])
        notes.append(f"seed {self.pair.seed}: {what}: {json.dumps(value)}, schemas {sides}")
