"""Manifests that a command is given by name: read, understood, and what is wrong with them said."""

from __future__ import annotations

from pathlib import Path

from trellis_codegen.cli.findings import Findings
from trellis_codegen.cli.reporting import Report
from trellis_codegen.contract.limits import MAX_SIZE_BYTES
from trellis_codegen.contract.positions import located
from trellis_codegen.contract.reading import Reading, read_manifest
from trellis_codegen.plan.package import all_problems, plan_package
from trellis_codegen.problems import Problem, ProblemsFound

__all__ = ["bytes_of", "checked", "understood"]


def bytes_of(manifest: Path, report: Report) -> bytes | None:
    """Return a file's bytes; None when it can't be read, which has been said then."""
    try:
        with manifest.open("rb") as file:
            return file.read(MAX_SIZE_BYTES + 1)
    except OSError as error:
        report.refusal(f"{manifest}: {(error.strerror or str(error)).lower()}")
        return None


def understood(manifest: Path, data: bytes, report: Report, *, strict: bool) -> Reading | None:
    """Return a contract that keeps the rules of the format; None when it has errors. Everything found is said."""
    try:
        reading = read_manifest(data, strict=strict)
    except ProblemsFound as error:
        report.problems(_findings(manifest, data, all_problems(error)))
        return None
    report.problems(_findings(manifest, data, reading.warnings))
    return reading


def checked(manifest: Path, data: bytes, report: Report, *, strict: bool) -> bool:
    """Whether a contract can become a package: its rules, its schemas, and its names. Everything found is said."""
    try:
        reading = read_manifest(data, strict=strict)
    except ProblemsFound as error:
        report.problems(_findings(manifest, data, all_problems(error)))
        return False
    try:
        _, remarks = plan_package(reading.manifest, source=manifest.name, package=None, generator="")
        sound = True
    except ProblemsFound as error:
        remarks, sound = list(error.problems), False
    problems = tuple(located([*reading.warnings, *remarks], reading.source))
    report.problems(_findings(manifest, data, problems))
    return sound


def _findings(manifest: Path, data: bytes, problems: tuple[Problem, ...]) -> Findings:
    return Findings(file=manifest.as_posix(), text=data.decode("utf-8", "replace"), problems=problems)
