"""`trellis-gen facade`: a contract in, a package out, or what would change."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

from trellis_codegen import naming
from trellis_codegen.cli.reporting import ExitCode, report_drift, report_problems, report_refusal
from trellis_codegen.contract.positions import located
from trellis_codegen.contract.reading import Reading, read_manifest
from trellis_codegen.contract.text import MAX_SIZE_BYTES
from trellis_codegen.output.drift import Drift, find_drift, unified_diff
from trellis_codegen.output.files import OutputRefused
from trellis_codegen.output.index import INDEX_NAME, index_text
from trellis_codegen.output.writing import write_drift
from trellis_codegen.plan.package import PackagePlan, plan_package
from trellis_codegen.problems import Problem, ProblemsFound
from trellis_codegen.render.package import render_package

__all__ = ["run"]

_PROJECT_MARKS = ("pyproject.toml", ".git")


def run(manifest: Path, *, out: Path, package: str | None, check: bool, strict: bool) -> ExitCode:
    """Generate the package of `manifest` into `out`, or compare it with what is there."""
    if package is not None and (not package or naming.attribute(package) != package):
        report_refusal(
            f'--package: "{package}" is no name for a package; try "{naming.attribute(package) or "orders"}"'
        )
        return ExitCode.USAGE
    try:
        with manifest.open("rb") as file:
            data = file.read(MAX_SIZE_BYTES + 1)
    except OSError as error:
        report_refusal(f"{manifest}: {(error.strerror or str(error)).lower()}")
        return ExitCode.USAGE
    shown = manifest.as_posix()
    try:
        reading = read_manifest(data, strict=strict)
        plan, remarks = _plan(reading, source=_source_name(manifest), package=package)
    except ProblemsFound as error:
        report_problems(shown, error.problems, written=False)
        return ExitCode.INVALID
    report_problems(shown, located([*reading.warnings, *remarks], reading.source), written=True)
    try:
        return _deliver(plan, out, check=check)
    except OutputRefused as error:
        report_refusal(str(error))
        return ExitCode.REFUSED


def _plan(reading: Reading, *, source: str, package: str | None) -> tuple[PackagePlan, list[Problem]]:
    generator = importlib.metadata.version("trellis-codegen")
    try:
        return plan_package(reading.manifest, source=source, package=package, generator=generator)
    except ProblemsFound as error:
        raise ProblemsFound(located([*reading.warnings, *error.problems], reading.source)) from None


def _deliver(plan: PackagePlan, out: Path, *, check: bool) -> ExitCode:
    files = render_package(plan)
    files[INDEX_NAME] = index_text(files, generator=plan.generator, digest=plan.digest)
    folder = out / plan.package
    drift = find_drift(folder, files)
    if check:
        return _show(plan, drift)
    write_drift(folder, drift)
    return ExitCode.FINE


def _show(plan: PackagePlan, drift: list[Drift]) -> ExitCode:
    if not drift:
        return ExitCode.FINE
    for line in unified_diff(plan.package, drift):
        sys.stdout.write(f"{line}\n")
    report_drift(plan.package, len(drift))
    return ExitCode.DRIFT


def _source_name(manifest: Path) -> str:
    """Return how generated files name their manifest: relative to its project, wherever the command runs.

    The project is the nearest folder above with a pyproject.toml or a .git; without one, the file name has to do.
    """
    path = Path(os.path.abspath(manifest))  # noqa: PTH100 - resolve() would follow links, and so name another file
    for folder in path.parents:
        if any((folder / mark).exists() for mark in _PROJECT_MARKS):
            return path.relative_to(folder).as_posix()
    return path.name
