"""The result of comparisons as values: every format prints these and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from trellis_codegen.breaking.findings import Finding
from trellis_codegen.breaking.rules.grades import Column, Grade
from trellis_codegen.breaking.rules.rule import UPCAST
from trellis_codegen.cli.comparing.requests import FailOn
from trellis_codegen.cli.findings import Findings
from trellis_codegen.contract.positions import Positions
from trellis_codegen.problems import Problem, Severity

__all__ = ["Comparison", "Located", "Side", "count_findings", "fails", "get_problem", "locate_findings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two contracts."""

    source: str
    """As messages show it."""
    file: str
    """The file in the working tree."""
    digest: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """A finding at its place: in the new contract, or in the old one for what is gone."""

    finding: Finding
    side: Side
    is_old: bool
    line: int
    column: int
    """Both count from 1."""
    old_digest: str

    @property
    def remedies(self) -> tuple[str, ...]:
        """The steps of the remedy, numbered, and what to do instead."""
        steps = tuple(f"{number}. {step}" for number, step in enumerate(self.finding.remedy, start=1))
        return (*steps, f'{UPCAST}; from_digest="{self.old_digest}"') if self.finding.has_upcast else steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two contracts, and what differs."""

    old: Side
    new: Side
    findings: tuple[Located, ...]
    surfaces: tuple[str, ...]
    """Every use of a schema that was compared, whether it changed or not."""


def locate_findings(findings: Iterable[Finding], old: Side, new: Side) -> tuple[Located, ...]:
    """Return the findings with their lines."""
    positions: dict[bool, Positions] = {}
    located: list[Located] = []
    for finding in findings:
        is_old = finding.pointer is None
        side = old if is_old else new
        if is_old not in positions:
            positions[is_old] = Positions(side.text)
        pointer = (finding.old_pointer if is_old else finding.pointer) or ()
        at = positions[is_old].of(pointer, on_key=True)
        located.append(
            Located(
                finding=finding,
                side=side,
                is_old=is_old,
                line=at.line,
                column=at.column,
                old_digest=old.digest,
            )
        )
    return tuple(located)


def fails(finding: Finding, fail_on: FailOn) -> bool:
    """Return whether a finding fails the run."""
    if finding.ignored is not None or fail_on is FailOn.NEVER:
        return False
    return finding.grade is Grade.BREAK or (fail_on is FailOn.RISKY and finding.grade is Grade.RISKY)


def count_findings(comparisons: Iterable[Comparison]) -> tuple[dict[str, int], dict[Column, int]]:
    """Return how many findings there are of each grade, and how many of those that count break whom."""
    grades = Counter[str]()
    columns = Counter[Column]()
    for comparison in comparisons:
        for located in comparison.findings:
            finding = located.finding
            if finding.ignored is not None:
                grades["ignored"] += 1
                continue
            grades[finding.grade] += 1
            grades["undecided"] += not finding.decided
            if finding.grade is Grade.BREAK:
                columns.update(finding.columns)
    names = [*Grade, "undecided", "ignored"]
    return {str(name): grades[name] for name in names}, {
        column: columns[column] for column in Column if columns[column]
    }


def get_problem(located: Located) -> tuple[Findings, Problem]:
    """Return a finding as a problem of its document, so that every format shows places alike."""
    finding = located.finding
    is_break = finding.grade is Grade.BREAK
    problem = Problem(
        pointer=(finding.old_pointer if located.is_old else finding.pointer) or (),
        rule=finding.rule,
        what=finding.message,
        severity=Severity.ERROR if is_break else Severity.WARNING,
        line=located.line,
        column=located.column,
        on_key=True,
    )
    return Findings(file=located.side.source, text=located.side.text), problem
