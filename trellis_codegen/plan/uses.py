"""The plan of a package with what it uses of other contracts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from trellis_codegen import naming
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.uses import OtherContracts, UsedContract, check_uses, find_uses, select_used
from trellis_codegen.plan.package import PackagePlan, UsePlan, plan_package
from trellis_codegen.plan.stated_names import apply_names
from trellis_codegen.problems import Problem, ProblemsFound, place

__all__ = ["plan_participant"]


def plan_participant(
    manifest: Manifest,
    others: OtherContracts,
    *,
    source: str,
    package: str | None,
    generator: str,
    names: Mapping[str, str] | None = None,
) -> tuple[PackagePlan, list[Problem]]:
    """Decide every name of a package and of what it uses, and report what the package does not support.

    `names` are those that the project states, for this contract and for those that it uses.

    Raises:
        ProblemsFound: the contract can't become a package; carries every problem, also of what it uses.
    """
    errors = [*check_uses(manifest, others)]
    remarks: list[Problem] = []
    uses: list[UsePlan] = []
    folder = package or naming.default_package(manifest.id)
    named, _ = apply_names(manifest, names or {})
    for used in [] if errors else find_uses(named):
        try:
            planned = _plan_use(used, others, folder, names)
        except ProblemsFound as error:
            errors += _at_use(error.problems, used)
            continue
        if planned is not None:
            use, found = planned
            uses.append(use)
            remarks += _at_use(found, used)
    try:
        plan, found = plan_package(
            manifest, source=source, package=package, generator=generator, names=names, uses=uses
        )
    except ProblemsFound as error:
        raise ProblemsFound([*error.problems, *errors, *remarks]) from None
    if errors:
        raise ProblemsFound([*found, *errors, *remarks])
    return plan, [*found, *remarks]


def _plan_use(
    used: UsedContract, others: OtherContracts, package: str, names: Mapping[str, str] | None
) -> tuple[UsePlan, list[Problem]] | None:
    """Plan what a use lists; None if there is nothing to generate.

    Raises:
        ProblemsFound: the other contract can't become a part of a package.
    """
    other = others.by_id.get(used.use.contract)
    if other is None:
        return None
    selected = select_used(used, other.manifest)
    if not (selected.rpc or selected.operations or selected.events or selected.feeds):
        return None
    attribute = naming.attribute(used.alias)
    surfaces, remarks = plan_package(
        selected, source=other.file, package=f"{package}.uses.{attribute}", generator="", names=names
    )
    use = UsePlan(
        alias=used.alias,
        attribute=attribute,
        class_name=naming.class_name(f"{naming.pascal(used.alias)}Use"),
        is_required=used.is_required,
        event_classes={name: _event_class(used, name) for name in used.listed("events")},
        place=used.pointer,
        surfaces=surfaces,
    )
    return use, [remark for remark in remarks if remark.pointer]


def _event_class(used: UsedContract, event: str) -> str:
    is_published = event in used.listed("events", "publish")
    is_subscribed = event in used.listed("events", "subscribe")
    if is_published and is_subscribed:
        return "EventChannel"
    return "EventOutlet" if is_published else "EventSource"


def _at_use(problems: Iterable[Problem], used: UsedContract) -> Iterator[Problem]:
    """Report the problems of another contract where it is used: its own file may be out of reach."""
    for problem in problems:
        what = f"{used.use.contract}: {place(problem.pointer)}: {problem.what}"
        yield replace(problem, pointer=used.pointer, what=what, on_key=True)
