"""`trellis-gen digest`: identifies the meaning of a contract on the wire, in 43 characters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from trellis_codegen.cli.configuration import ConfigurationInvalid, find_configuration
from trellis_codegen.cli.documents import read_contract
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.manifest_files import read_manifest_bytes
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.cli.targets import shorten_path
from trellis_codegen.contract.digest import compute_digest

__all__ = ["run"]


def run(manifests: Sequence[Path], *, as_json: bool, quiet: bool) -> ExitCode:
    """Print the digest of one manifest; of several, a line each, followed by the name of the file."""
    reporter = Reporter(quiet=quiet)
    try:
        configuration = find_configuration(Path())
    except ConfigurationInvalid as error:
        reporter.report_problems(error.findings)
        return ExitCode.USAGE
    if configuration:
        reporter.ignore_warnings(configuration.ignores)
    found: list[dict[str, str]] = []
    code = max(_add_digest(shorten_path(manifest), reporter, found) for manifest in manifests)
    if as_json:
        document = {"version": 1, "digests": found}
        reporter.print_result([json.dumps(document, indent=2, ensure_ascii=False)])
    elif len(manifests) == 1:
        reporter.print_result(entry["digest"] for entry in found)
    else:
        reporter.print_result(f"{entry['digest']}  {entry['file']}" for entry in found)
    return code


def _add_digest(manifest: Path, reporter: Reporter, found: list[dict[str, str]]) -> ExitCode:
    data = read_manifest_bytes(manifest, reporter)
    if data is None:
        return ExitCode.USAGE
    reading = read_contract(manifest, data, reporter, strict=False)
    if reading is None:
        return ExitCode.INVALID
    digest = compute_digest(reading.manifest)
    found.append({"file": manifest.as_posix(), "id": reading.manifest.id, "digest": digest})
    return ExitCode.OK
