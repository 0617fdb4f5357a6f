"""Reads and checks the contracts of `validate` and `digest`, and reports every problem."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trellis_codegen.cli.findings import Findings
from trellis_codegen.cli.other_contracts import OtherFiles, read_other_contracts
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.contract.fingerprint import summarize_manifest
from trellis_codegen.contract.positions import locate
from trellis_codegen.contract.reading import Reading, read_manifest
from trellis_codegen.plan.package import collect_problems
from trellis_codegen.plan.remarks import find_remarks
from trellis_codegen.plan.uses import plan_participant
from trellis_codegen.problems import Pointer, Problem, ProblemsFound

__all__ = ["check_contract", "read_contract"]


def read_contract(manifest: Path, data: bytes, reporter: Reporter, *, strict: bool) -> Reading | None:
    """Return a contract that keeps the rules of the format; None if it has errors. Every problem is reported."""
    try:
        reading = read_manifest(data, strict=strict)
    except ProblemsFound as error:
        reporter.report_problems(_make_findings(manifest, data, collect_problems(error), error.unchecked))
        return None
    reporter.report_problems(_make_findings(manifest, data, reading.warnings))
    return reading


def check_contract(
    manifest: Path,
    data: bytes,
    reporter: Reporter,
    *,
    strict: bool,
    names: Mapping[str, str],
    others: OtherFiles,
) -> bool:
    """Return whether a contract can become a package: its rules, schemas, names and uses. Every problem is reported."""
    seen = summarize_manifest(data)
    contracts = read_other_contracts(others, seen.used_ids if seen else tuple(others.by_id), reporter)
    if contracts is None:
        return False
    try:
        reading = read_manifest(data, strict=strict)
    except ProblemsFound as error:
        reporter.report_problems(
            _make_findings(manifest, data, collect_problems(error, contracts), error.unchecked)
        )
        return False
    try:
        _, remarks = plan_participant(
            reading.manifest, contracts, source=manifest.name, package=None, generator="", names=names
        )
        remarks = [*remarks, *find_remarks(reading.manifest)]
        is_sound = True
    except ProblemsFound as error:
        remarks, is_sound = list(error.problems), False
    problems = tuple(locate([*reading.warnings, *remarks], reading.source))
    reporter.report_problems(_make_findings(manifest, data, problems))
    return is_sound


def _make_findings(
    manifest: Path, data: bytes, problems: tuple[Problem, ...], unchecked: tuple[Pointer, ...] = ()
) -> Findings:
    text = data.decode("utf-8", "replace")
    return Findings(file=manifest.as_posix(), text=text, problems=problems, unchecked=unchecked)
