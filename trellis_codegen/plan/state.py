"""State stores: the name and the types of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trellis_codegen import naming
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.resources import State
from trellis_codegen.plan.collisions import Claim
from trellis_codegen.plan.grouping import Member
from trellis_codegen.plan.kinds import is_service
from trellis_codegen.plan.models import ModelsPlan
from trellis_codegen.plan.wording import Argument, choose_text

__all__ = ["StatePlan", "claim_state_names", "plan_state"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StatePlan:
    """One state store."""

    base: str
    """The class of the runtime: `StateValue` or `StateMap`."""
    value: str
    """The type of its values."""
    old: tuple[str, ...]
    """The types of the values of older versions, each once."""
    spec: tuple[Argument, ...]
    docstring: str

    @property
    def types(self) -> str:
        """The arguments of the class: the value, and the entries of older versions if there are some."""
        return ", ".join([self.value, *([" | ".join(self._old_entries)] if self.old else [])])

    @property
    def runtime_names(self) -> tuple[str, ...]:
        """What the store needs from the runtime."""
        return (self.base, "OldStateEntry") if self.old else (self.base,)

    @property
    def _old_entries(self) -> list[str]:
        return [f"OldStateEntry[{old}]" for old in self.old]


def claim_state_names(manifest: Manifest) -> Iterator[Claim]:
    """Yield the Python names that the stores need."""
    for name in _generated(manifest):
        yield Claim(f"state.{naming.attribute(name)}", ("state", name))


def plan_state(manifest: Manifest, models: ModelsPlan) -> tuple[Member[StatePlan], ...]:
    """Plan the stores, in the contract's order; a service has none."""
    return tuple(
        Member(
            name=name,
            attribute=naming.attribute(name),
            constant=naming.constant(name),
            plan=_store(name, state, models),
        )
        for name, state in _generated(manifest).items()
    )


def _generated(manifest: Manifest) -> dict[str, State]:
    return {} if is_service(manifest) else manifest.state or {}


def _store(name: str, state: State, models: ModelsPlan) -> StatePlan:
    value = models.type_name(state.schema_ref.schema_name)
    accepted = {
        version: models.type_name(old.schema_name) for version, old in (state.accepted_versions or {}).items()
    }
    spec = [Argument(name="name", value=repr(name)), Argument(name="value", value=value)]
    if state.state_version is not None:
        spec.append(Argument(name="version", value=repr(state.state_version)))
    if accepted:
        pairs = ", ".join(f"{version!r}: {old}" for version, old in accepted.items())
        spec.append(Argument(name="accepted", value=f"{{{pairs}}}"))
    return StatePlan(
        base="StateValue" if state.kind == "value" else "StateMap",
        value=value,
        old=tuple(dict.fromkeys(accepted.values())),
        spec=tuple(spec),
        docstring=choose_text(state.docs, f"The `{name}` state."),
    )
