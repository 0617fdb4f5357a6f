"""`trellis-gen validate`: contracts in, everything that is wrong with them out. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trellis_codegen.cli.documents import bytes_of, checked
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.findings import Format
from trellis_codegen.cli.reporting import Report

__all__ = ["run"]


def run(manifests: Sequence[Path], *, strict: bool, form: Format, quiet: bool) -> ExitCode:
    """Check every manifest, even after one with errors; the worst end decides the exit code."""
    report = Report(form, quiet=quiet)
    code = max(_validate(each, report, strict=strict) for each in manifests)
    report.finish()
    return code


def _validate(manifest: Path, report: Report, *, strict: bool) -> ExitCode:
    data = bytes_of(manifest, report)
    if data is None:
        return ExitCode.USAGE
    if not checked(manifest, data, report, strict=strict):
        return ExitCode.INVALID
    report.note(f"{manifest.as_posix()}: valid")
    return ExitCode.FINE
