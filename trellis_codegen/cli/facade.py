"""`trellis-gen facade`: writes the packages of contracts, or prints what would change."""

from __future__ import annotations

from pathlib import Path

from trellis_codegen.cli.choosing_manifests import explain_no_contract
from trellis_codegen.cli.configuration import ConfigurationInvalid, find_configuration
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.generation import generate
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.cli.requests import Mode, Request
from trellis_codegen.cli.targets import Choices, Target, choose_targets

__all__ = ["find_targets", "run"]


def run(request: Request) -> ExitCode:
    """Generate the chosen packages, or compare them with what is on disk."""
    reporter = Reporter(request.format, quiet=request.quiet)
    targets = find_targets(request.choices, reporter)
    code = ExitCode.USAGE if targets is None else _run_all(targets, request.mode, reporter)
    reporter.finish()
    return code


def find_targets(choices: Choices, reporter: Reporter) -> tuple[Target, ...] | None:
    """Return what to generate; None if the command line and the configuration name nothing, which is reported."""
    try:
        found = find_configuration(Path())
    except ConfigurationInvalid as error:
        reporter.report_problems(error.findings)
        return None
    if found:
        reporter.ignore_warnings(found.ignores)
    targets = choose_targets(choices, found.targets if found else ())
    if found:
        targets = tuple(
            target._replace(names=found.names, others=(*target.others, *found.others)) for target in targets
        )
    if not targets:
        reporter.report_refusal(explain_no_contract(found, "MANIFEST"))
        return None
    if choices.package is not None and len(targets) > 1:
        reporter.report_refusal(
            f'--package "{choices.package}" names one package, and pyproject.toml has {len(targets)} contracts; '
            "name the manifest of one of them too"
        )
        return None
    return targets


def _run_all(targets: tuple[Target, ...], mode: Mode, reporter: Reporter) -> ExitCode:
    """Run every target, also after one that failed; the greatest exit code is that of the run."""
    taken: dict[Path, Path] = {}
    return max(generate(target, mode, reporter, taken=taken).code for target in targets)
