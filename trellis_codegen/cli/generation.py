"""One target: its package is up to date, or it is generated and then written, compared or announced."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trellis_codegen import __version__, naming
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.findings import FileChange, Findings, PackageState
from trellis_codegen.cli.manifest_files import STDIN, read_manifest_bytes
from trellis_codegen.cli.other_contracts import OtherFiles, find_other_files, read_other_contracts
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.cli.requests import Mode
from trellis_codegen.cli.targets import Target
from trellis_codegen.contract.fingerprint import ManifestSummary, summarize_manifest
from trellis_codegen.output.files import OutputRefused
from trellis_codegen.output.freshness import find_fresh_index
from trellis_codegen.output.generator_id import hash_generator
from trellis_codegen.output.index import Inputs
from trellis_codegen.problems import Pointer, Problem, ProblemsFound

if TYPE_CHECKING:
    from trellis_codegen.contract.uses import OtherContracts
    from trellis_codegen.output.drift import Drift

__all__ = ["Outcome", "generate", "make_findings", "make_inputs"]


class Outcome(NamedTuple):
    """How the run of one target ended."""

    code: ExitCode
    package: PackageState | None = None
    """None if the run failed before it had a package."""


def generate(target: Target, mode: Mode, reporter: Reporter, *, taken: dict[Path, Path]) -> Outcome:
    """Generate the package of a target, or compare it with what is on disk.

    `taken` has the folders of this run's packages so far, with their manifests; the folder of this one is added.
    """
    package = target.package
    if package is not None and (not package or naming.attribute(package) != package):
        better = naming.attribute(package) or "orders"
        reporter.report_refusal(f'package "{package}" is not a valid Python package name; try "{better}"')
        return Outcome(code=ExitCode.USAGE)
    data = read_manifest_bytes(target.manifest, reporter)
    if data is None:
        return Outcome(code=ExitCode.USAGE)
    others = find_other_files(target.others, reporter)
    if others is None:
        return Outcome(code=ExitCode.USAGE)
    seen = summarize_manifest(data)
    inputs = make_inputs(target, seen, others)
    folder = target.out / inputs.package
    if seen:
        other = taken.setdefault(folder.resolve(), target.manifest)
        if other is not target.manifest:
            reporter.report_refusal(
                f"{folder} would be the package of {other} and of {target.manifest}; give one of them another "
                f'"package" or "out"'
            )
            return Outcome(code=ExitCode.USAGE)
    fresh = find_fresh_index(folder, inputs) if seen else None
    if fresh is not None:
        _repeat_warnings(target, data, fresh.warnings, reporter)
        return _finish(target, folder, [], mode, reporter)
    contracts = read_other_contracts(others, seen.used_ids if seen else tuple(others.by_id), reporter)
    if contracts is None:
        reporter.print_note(
            f"{target.manifest.as_posix()}: a contract that it uses has errors; nothing was written"
        )
        return Outcome(code=ExitCode.INVALID)
    return _generate(target, data, inputs, contracts, mode, reporter)


def _generate(
    target: Target, data: bytes, inputs: Inputs, others: OtherContracts, mode: Mode, reporter: Reporter
) -> Outcome:
    from trellis_codegen.cli.building import build_package  # noqa: PLC0415 - a second of imports, if there is work

    try:
        built = build_package(data, inputs, package=target.package, others=others)
    except ProblemsFound as error:
        findings = make_findings(target, data, error.problems, error.unchecked)
        reporter.report_problems(findings)
        errors = f"{findings.errors} error{'s' * (findings.errors != 1)}"
        reporter.print_note(f"{target.manifest.as_posix()}: {errors}; nothing was written")
        return Outcome(code=ExitCode.INVALID)
    reporter.report_problems(make_findings(target, data, built.warnings))
    folder = target.out / built.package
    try:
        drift = _deliver(folder, built.files, mode)
    except OutputRefused as error:
        reporter.report_refusal(str(error))
        return Outcome(code=ExitCode.REFUSED)
    return _finish(target, folder, drift, mode, reporter)


def _deliver(folder: Path, files: dict[str, str], mode: Mode) -> list[Drift]:
    from trellis_codegen.output.drift import find_drift  # noqa: PLC0415 - only if there is work
    from trellis_codegen.output.writing import check_changes, write_package  # noqa: PLC0415 - likewise

    match mode:
        case Mode.WRITE:
            return write_package(folder, files)
        case Mode.CHECK:
            return find_drift(folder, files)
        case Mode.PREVIEW:
            return check_changes(folder, files)


def _finish(target: Target, folder: Path, drift: list[Drift], mode: Mode, reporter: Reporter) -> Outcome:
    changes = tuple(
        FileChange(name=change.name, change=change.change, edited=change.edited) for change in drift
    )
    state = PackageState(
        package=folder.name,
        folder=folder.as_posix(),
        manifest=target.manifest.as_posix(),
        changes=changes,
        written=mode is Mode.WRITE and bool(changes),
        is_drift=mode is Mode.CHECK,
    )
    match mode:
        case Mode.PREVIEW:
            reporter.report_plan(state)
        case Mode.CHECK:
            if drift:
                from trellis_codegen.output.drift import render_diff  # noqa: PLC0415 - only if there is a difference

                reporter.print_diff(render_diff(folder, drift))
            reporter.report_package(state)
        case Mode.WRITE:
            reporter.report_package(state)
    code = ExitCode.DRIFT if changes and mode is Mode.CHECK else ExitCode.OK
    return Outcome(code=code, package=state)


def make_inputs(target: Target, seen: ManifestSummary | None, others: OtherFiles) -> Inputs:
    """Return everything that decides the package of a target."""
    return Inputs(
        generator=__version__,
        build=hash_generator(),
        manifest=seen.fingerprint if seen else "",
        package=target.package or (naming.default_package(seen.contract_id) if seen else ""),
        source="stdin" if target.manifest == STDIN else target.manifest.name,
        strict=target.strict,
        names=dict(target.names),
        used=others.fingerprints(seen.used_ids) if seen else {},
    )


def _repeat_warnings(target: Target, data: bytes, warnings: tuple[Problem, ...], reporter: Reporter) -> None:
    if warnings:
        from trellis_codegen.contract.positions import locate  # noqa: PLC0415 - only if there are some

        findings = make_findings(target, data, warnings)
        reporter.report_problems(findings._replace(problems=tuple(locate([*warnings], findings.text))))


def make_findings(
    target: Target, data: bytes, problems: tuple[Problem, ...], unchecked: tuple[Pointer, ...] = ()
) -> Findings:
    """Return the problems of a target's manifest with its text, for excerpts."""
    text = data.decode("utf-8", errors="replace")
    return Findings(file=target.manifest.as_posix(), text=text, problems=problems, unchecked=unchecked)
