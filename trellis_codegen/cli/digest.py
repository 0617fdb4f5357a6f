"""`trellis-gen digest`: what a contract means on the wire, as 43 characters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from trellis_codegen.cli.documents import bytes_of, understood
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.reporting import Report
from trellis_codegen.contract.digest import contract_digest

__all__ = ["run"]


def run(manifests: Sequence[Path], *, as_json: bool, quiet: bool) -> ExitCode:
    """Print the digest of one manifest; of several, a line each with the file's name behind it."""
    report = Report(quiet=quiet)
    found: list[dict[str, str]] = []
    code = max(_digest(each, report, found) for each in manifests)
    if as_json:
        report.result([json.dumps({"version": 1, "digests": found}, indent=2, ensure_ascii=False)])
    elif len(manifests) == 1:
        report.result(each["digest"] for each in found)
    else:
        report.result(f"{each['digest']}  {each['file']}" for each in found)
    return code


def _digest(manifest: Path, report: Report, found: list[dict[str, str]]) -> ExitCode:
    data = bytes_of(manifest, report)
    if data is None:
        return ExitCode.USAGE
    reading = understood(manifest, data, report, strict=False)
    if reading is None:
        return ExitCode.INVALID
    digest = contract_digest(reading.manifest)
    found.append({"file": manifest.as_posix(), "id": reading.manifest.id, "digest": digest})
    return ExitCode.FINE
