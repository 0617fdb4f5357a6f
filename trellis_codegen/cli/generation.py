"""One target: nothing to do, or its package generated and then written, compared or announced."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from trellis_codegen import naming
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.findings import FileChange, Findings, PackageState
from trellis_codegen.cli.reporting import Report
from trellis_codegen.cli.requests import Mode
from trellis_codegen.cli.targets import Target
from trellis_codegen.contract.fingerprint import Glance, glance
from trellis_codegen.contract.limits import MAX_SIZE_BYTES
from trellis_codegen.contract.positions import located
from trellis_codegen.output.drift import Drift, find_drift, unified_diff
from trellis_codegen.output.files import OutputRefused
from trellis_codegen.output.freshness import fresh_index
from trellis_codegen.output.generator_id import generator_build, generator_version
from trellis_codegen.output.index import Inputs
from trellis_codegen.output.writing import changes_allowed, write_package
from trellis_codegen.problems import Problem, ProblemsFound

__all__ = ["Outcome", "generate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How the run of one target ended."""

    code: ExitCode
    folder: Path | None = None
    """The package's folder, once it is known."""
    changes: tuple[FileChange, ...] = ()


def generate(target: Target, mode: Mode, report: Report, *, taken: dict[Path, Path]) -> Outcome:
    """Generate the package of a target, or compare it with what is there.

    `taken` has the packages of this run so far, with their manifests; this one is added.
    """
    package = target.package
    if package is not None and (not package or naming.attribute(package) != package):
        better = naming.attribute(package) or "orders"
        report.refusal(f'--package: "{package}" is no name for a package; try "{better}"')
        return Outcome(code=ExitCode.USAGE)
    data = _read(target.manifest, report)
    if data is None:
        return Outcome(code=ExitCode.USAGE)
    seen = glance(data)
    inputs = _inputs(target, seen)
    folder = target.out / inputs.package
    if seen:
        other = taken.setdefault(folder.resolve(), target.manifest)
        if other is not target.manifest:
            report.refusal(f"{folder} would be the package of {other} and of {target.manifest}")
            return Outcome(code=ExitCode.USAGE)
    fresh = fresh_index(folder, inputs) if seen else None
    if fresh is not None:
        _warn(target, data, fresh.warnings, report)
        return _finish(target, folder, [], mode, report)
    return _generate(target, data, inputs, mode, report)


def _generate(target: Target, data: bytes, inputs: Inputs, mode: Mode, report: Report) -> Outcome:
    from trellis_codegen.cli.building import build_package  # noqa: PLC0415 - a second of loading, if there is work

    try:
        building = build_package(data, inputs, package=target.package)
    except ProblemsFound as error:
        findings = _findings(target, data, error.problems)
        report.problems(findings)
        report.note(f"{findings.errors} problem{'s' * (findings.errors != 1)}; nothing was written")
        return Outcome(code=ExitCode.INVALID)
    report.problems(_findings(target, data, building.warnings))
    folder = target.out / building.package
    try:
        drift = _deliver(folder, building.files, mode)
    except OutputRefused as error:
        report.refusal(str(error))
        return Outcome(code=ExitCode.REFUSED)
    return _finish(target, folder, drift, mode, report)


def _deliver(folder: Path, files: dict[str, str], mode: Mode) -> list[Drift]:
    if mode is Mode.WRITE:
        return write_package(folder, files)
    return find_drift(folder, files) if mode is Mode.CHECK else changes_allowed(folder, files)


def _finish(target: Target, folder: Path, drift: list[Drift], mode: Mode, report: Report) -> Outcome:
    changes = tuple(FileChange(name=each.name, change=each.change, edited=each.edited) for each in drift)
    state = PackageState(
        package=folder.name,
        folder=folder.as_posix(),
        manifest=target.manifest.as_posix(),
        changes=changes,
        written=mode is Mode.WRITE and bool(changes),
        is_drift=mode is Mode.CHECK,
    )
    if mode is Mode.PREVIEW:
        report.plan(state)
    else:
        if mode is Mode.CHECK:
            report.diff(unified_diff(folder, drift))
        report.package(state)
    code = ExitCode.DRIFT if changes and mode is Mode.CHECK else ExitCode.FINE
    return Outcome(code=code, folder=folder, changes=changes)


def _inputs(target: Target, seen: Glance | None) -> Inputs:
    return Inputs(
        generator=generator_version(),
        build=generator_build(),
        manifest=seen.fingerprint if seen else "",
        package=target.package or (naming.default_package(seen.contract_id) if seen else ""),
        source=target.manifest.name,
        strict=target.strict,
    )


def _read(manifest: Path, report: Report) -> bytes | None:
    try:
        with manifest.open("rb") as file:
            return file.read(MAX_SIZE_BYTES + 1)
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else None
        report.refusal(f"{manifest}: {(what or str(error)).lower()}")
        return None


def _warn(target: Target, data: bytes, warnings: tuple[Problem, ...], report: Report) -> None:
    if warnings:
        findings = _findings(target, data, warnings)
        report.problems(replace(findings, problems=tuple(located([*warnings], findings.text))))


def _findings(target: Target, data: bytes, problems: tuple[Problem, ...]) -> Findings:
    text = data.decode("utf-8", errors="replace")
    return Findings(file=target.manifest.as_posix(), text=text, problems=problems)
