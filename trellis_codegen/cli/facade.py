"""`trellis-gen facade`: contracts in, packages out, or what would change."""

from __future__ import annotations

from pathlib import Path

from trellis_codegen.cli.configuration import Configuration, ConfigurationInvalid, find_configuration
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.generation import generate
from trellis_codegen.cli.reporting import Report
from trellis_codegen.cli.requests import Mode, Request
from trellis_codegen.cli.targets import Choices, Target, chosen_targets

__all__ = ["configured", "run"]

_NO_TARGET = (
    "no manifest is given, and no pyproject.toml here or above has a [[tool.trellis-gen.contracts]]; "
    "name one, as in trellis-gen facade contracts/orders_service.manifest.json"
)


def run(request: Request) -> ExitCode:
    """Generate the chosen packages, or compare them with what is there."""
    report = Report(request.form, quiet=request.quiet)
    targets = configured(request.choices, report)
    code = ExitCode.USAGE if targets is None else _run_all(targets, request.mode, report)
    report.finish()
    return code


def configured(choices: Choices, report: Report) -> tuple[Target, ...] | None:
    """Return what is to be generated; None when that can't be told, which has been said then."""
    try:
        found = find_configuration(Path())
    except ConfigurationInvalid as error:
        report.problems(error.findings)
        return None
    targets = chosen_targets(choices, found.targets if found else ())
    if not targets:
        report.refusal(_nothing(found))
        return None
    if choices.package is not None and len(targets) > 1:
        report.refusal(
            f"--package names one package, and there are {len(targets)} contracts; name a manifest too"
        )
        return None
    return targets


def _run_all(targets: tuple[Target, ...], mode: Mode, report: Report) -> ExitCode:
    """Run every target, even after one that failed; the worst end decides the exit code."""
    taken: dict[Path, Path] = {}
    return max(generate(target, mode, report, taken=taken).code for target in targets)


def _nothing(found: Configuration | None) -> str:
    return _NO_TARGET if found is None else f"{found.file.name} has a [tool.trellis-gen] without contracts"
