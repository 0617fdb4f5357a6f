"""Two contract names that become one Python name: an error that names both, never a silent suffix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trellis_codegen.contract.hints import hint_at_names
from trellis_codegen.problems import Pointer, Problem
from trellis_codegen.rule_ids import Rule

__all__ = ["Claim", "find_collisions"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A part of the contract that needs a Python name."""

    python_name: str
    """The name as people write it: `jobs.reserve_inventory`."""
    pointer: Pointer
    """The part that needs it; the last step is its contract name."""

    @property
    def wanted(self) -> str:
        """The contract name."""
        name = self.pointer[-1]
        return name if isinstance(name, str) else str(name)


def find_collisions(claims: Iterable[Claim]) -> list[Problem]:
    """Return a problem for each claim whose name is empty, and for each pair of claims with the same name."""
    owners: dict[str, Claim] = {}
    reported: set[tuple[Pointer, Pointer]] = set()
    problems: list[Problem] = []
    for claim in claims:
        if not claim.python_name.rpartition(".")[2]:
            what = f'cannot make a Python name from "{claim.wanted}"'
            hint = hint_at_names([(claim.pointer, claim.wanted)], "")
            problems.append(
                Problem(pointer=claim.pointer, rule=Rule.NO_PYTHON_NAME, what=what, hint=hint, on_key=True)
            )
            continue
        owner = owners.setdefault(claim.python_name, claim)
        meeting = (owner.pointer, claim.pointer)
        if owner.pointer != claim.pointer and meeting not in reported:
            reported.add(meeting)
            what = f"{_named(owner, claim)} and {_named(claim, owner)} would both become {claim.python_name}"
            hint = hint_at_names([(each.pointer, each.wanted) for each in (claim, owner)], claim.python_name)
            problems.append(
                Problem(pointer=claim.pointer, rule=Rule.NAME_COLLISION, what=what, hint=hint, on_key=True)
            )
    return problems


def _named(claim: Claim, other: Claim) -> str:
    """Name a claimant; with its section if the two are in different sections."""
    if claim.pointer == ("id",):
        return "the id of the contract"
    section = "" if claim.pointer[:-1] == other.pointer[:-1] else f"{'/'.join(map(str, claim.pointer[:-1]))} "
    return f'{section}"{claim.pointer[-1]}"'
