"""`trellis-gen validate`: reports every problem of contracts, and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trellis_codegen.cli.documents import check_contract
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.manifest_files import read_manifest_bytes
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.cli.requests import Format
from trellis_codegen.cli.targets import shorten_path

__all__ = ["run"]


def run(manifests: Sequence[Path], *, strict: bool, output_format: Format, quiet: bool) -> ExitCode:
    """Check every manifest, also after one with errors; the greatest exit code is that of the run."""
    reporter = Reporter(output_format, quiet=quiet)
    code = max(_validate(shorten_path(manifest), reporter, strict=strict) for manifest in manifests)
    reporter.finish()
    return code


def _validate(manifest: Path, reporter: Reporter, *, strict: bool) -> ExitCode:
    data = read_manifest_bytes(manifest, reporter)
    if data is None:
        return ExitCode.USAGE
    if not check_contract(manifest, data, reporter, strict=strict):
        return ExitCode.INVALID
    reporter.print_note(f"{manifest.as_posix()}: valid")
    return ExitCode.OK
