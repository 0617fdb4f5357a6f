"""Bytes of a manifest → files of a package. Loads everything heavy; imported only when there is something to do."""

from __future__ import annotations

from dataclasses import dataclass

from trellis_codegen.contract.positions import located
from trellis_codegen.contract.reading import Reading, read_manifest
from trellis_codegen.output.index import INDEX_NAME, Inputs, index_text
from trellis_codegen.plan.package import PackagePlan, all_problems, plan_package
from trellis_codegen.problems import Problem, ProblemsFound
from trellis_codegen.render.package import render_package

__all__ = ["Building", "build_package"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Building:
    """A package in memory."""

    package: str
    files: dict[str, str]
    """With its index."""
    warnings: tuple[Problem, ...]
    """Located and sorted."""


def build_package(data: bytes, inputs: Inputs, *, package: str | None) -> Building:
    """Generate a package.

    Raises:
        ProblemsFound: the contract can't become one; every problem, located and sorted.
    """
    try:
        reading = read_manifest(data, strict=inputs.strict)
    except ProblemsFound as error:
        raise ProblemsFound(all_problems(error)) from None
    plan, remarks = _plan(reading, inputs, package)
    files = render_package(plan)
    warnings = tuple(located([*reading.warnings, *remarks], reading.source))
    files[INDEX_NAME] = index_text(files, inputs=inputs, digest=plan.digest, warnings=warnings)
    return Building(package=plan.package, files=files, warnings=warnings)


def _plan(reading: Reading, inputs: Inputs, package: str | None) -> tuple[PackagePlan, list[Problem]]:
    try:
        return plan_package(
            reading.manifest, source=inputs.source, package=package, generator=inputs.generator
        )
    except ProblemsFound as error:
        raise ProblemsFound(located([*reading.warnings, *error.problems], reading.source)) from None
