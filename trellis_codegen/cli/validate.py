"""`trellis-gen validate`: reports every problem of contracts, and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trellis_codegen.cli.choosing_manifests import choose_manifests
from trellis_codegen.cli.configuration import ConfigurationInvalid, find_configuration, locate_in_toml
from trellis_codegen.cli.documents import check_contract
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.findings import Findings
from trellis_codegen.cli.manifest_files import read_manifest_bytes
from trellis_codegen.cli.other_contracts import OtherFiles, find_other_files
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.cli.requests import Format
from trellis_codegen.cli.targets import OtherSource, shorten_path

__all__ = ["run"]


def run(
    manifests: Sequence[Path],
    *,
    strict: bool,
    output_format: Format,
    quiet: bool,
    others: tuple[OtherSource, ...] = (),
) -> ExitCode:
    """Check every manifest, also after one with errors; the greatest exit code is that of the run.

    Without a manifest, it checks those of the project.
    """
    reporter = Reporter(output_format, quiet=quiet)
    try:
        found = find_configuration(Path())
    except ConfigurationInvalid as error:
        reporter.report_problems(error.findings)
        reporter.finish()
        return ExitCode.USAGE
    manifests = choose_manifests(manifests, found, reporter)
    if not manifests:
        reporter.finish()
        return ExitCode.USAGE
    if found:
        reporter.ignore_warnings(found.ignores)
    names = found.names if found else {}
    strict_files = {target.manifest.resolve() for target in (found.targets if found else ()) if target.strict}
    files = find_other_files((*others, *(found.others if found else ())), reporter)
    code = (
        ExitCode.USAGE
        if files is None
        else max(
            _validate(
                shorten_path(manifest),
                reporter,
                strict=strict or manifest.resolve() in strict_files,
                names=names,
                others=files,
            )
            for manifest in manifests
        )
    )
    if found and {target.manifest.resolve() for target in found.targets} <= {*map(Path.resolve, manifests)}:
        unused = tuple(locate_in_toml(found.text, problem) for problem in reporter.find_unused_ignores())
        reporter.report_problems(Findings(file=found.shown_file, text=found.text, problems=unused))
    reporter.finish()
    return code


def _validate(
    manifest: Path, reporter: Reporter, *, strict: bool, names: Mapping[str, str], others: OtherFiles
) -> ExitCode:
    data = read_manifest_bytes(manifest, reporter)
    if data is None:
        return ExitCode.USAGE
    if not check_contract(manifest, data, reporter, strict=strict, names=names, others=others):
        return ExitCode.INVALID
    reporter.print_note(f"{manifest.as_posix()}: valid")
    return ExitCode.OK
