"""Bytes of a manifest → files of a package. Imports everything heavy, so it is imported only if there is work to do."""

from __future__ import annotations

from dataclasses import dataclass

from trellis_codegen.contract.positions import locate
from trellis_codegen.contract.reading import Reading, read_manifest
from trellis_codegen.contract.uses import OtherContracts
from trellis_codegen.output.index import INDEX_NAME, Inputs, render_index
from trellis_codegen.plan.package import PackagePlan, collect_problems
from trellis_codegen.plan.remarks import find_remarks
from trellis_codegen.plan.uses import plan_participant
from trellis_codegen.problems import Problem, ProblemsFound
from trellis_codegen.render.package import render_package

__all__ = ["BuiltPackage", "build_package"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltPackage:
    """A package in memory."""

    package: str
    """Its name."""
    plan: PackagePlan
    """Its names."""
    files: dict[str, str]
    """Its files, the index among them."""
    warnings: tuple[Problem, ...]
    """Located and sorted."""


def build_package(
    data: bytes, inputs: Inputs, *, package: str | None, others: OtherContracts
) -> BuiltPackage:
    """Generate a package in memory.

    Raises:
        ProblemsFound: the contract cannot become a package; carries every problem, located and sorted.
    """
    try:
        reading = read_manifest(data, strict=inputs.strict)
    except ProblemsFound as error:
        raise ProblemsFound(collect_problems(error, others), unchecked=error.unchecked) from None
    plan, remarks = _plan(reading, inputs, package, others)
    files = render_package(plan)
    warnings = tuple(locate([*reading.warnings, *remarks, *find_remarks(reading.manifest)], reading.source))
    files[INDEX_NAME] = render_index(files, inputs=inputs, digest=plan.digest, warnings=warnings)
    return BuiltPackage(package=plan.package, plan=plan, files=files, warnings=warnings)


def _plan(
    reading: Reading, inputs: Inputs, package: str | None, others: OtherContracts
) -> tuple[PackagePlan, list[Problem]]:
    try:
        return plan_participant(
            reading.manifest,
            others,
            source=inputs.source,
            package=package,
            generator=inputs.generator,
            names=inputs.names,
        )
    except ProblemsFound as error:
        raise ProblemsFound(locate([*reading.warnings, *error.problems], reading.source)) from None
