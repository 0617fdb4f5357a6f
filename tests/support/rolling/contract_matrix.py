"""Drives a change of a contract, and compares what happens with what its rule says."""

from __future__ import annotations

from pathlib import Path

from tests.support.rolling.contract_cases import ContractCase
from trellis_codegen.breaking.rules.grades import Grade

__all__ = ["find_contradictions"]


async def find_contradictions(case: ContractCase, folder: Path) -> list[str]:
    """Return where the rule says something else than what is seen."""
    it = case.generate(folder)
    finding = next(each for each in it.findings if each.rule == case.rule)
    seen = await case.scenario(it)
    named = {*finding.columns} - {*case.unseen}
    broken = {column for column, problem in seen.items() if problem is not None}
    found = [f"{column}: named, and not driven" for column in sorted(named - {*seen})]
    found += [f"{column}: named, and all is well" for column in sorted((named & {*seen}) - broken)]
    found += [f"{column}: not named, but {seen[column]}" for column in sorted(broken - named)]
    if finding.grade is Grade.SAFE and broken:
        found.append(f"it is graded as safe, and breaks {sorted(broken)}")
    return found
