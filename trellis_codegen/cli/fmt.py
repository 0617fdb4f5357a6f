"""`trellis-gen fmt`: the white space of manifests, the same everywhere."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from trellis_codegen.cli.choosing_manifests import choose_manifests
from trellis_codegen.cli.configuration import ConfigurationInvalid, find_configuration
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.findings import Findings
from trellis_codegen.cli.manifest_files import STDIN, read_manifest_bytes
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.cli.targets import shorten_path
from trellis_codegen.contract import text as json_text
from trellis_codegen.contract.layout import lay_out
from trellis_codegen.problems import ProblemsFound

__all__ = ["run"]


def run(manifests: Sequence[Path], *, check: bool, quiet: bool) -> ExitCode:
    """Format every manifest, also after one with errors; the greatest exit code is that of the run.

    Without a manifest, it formats those of the project.
    """
    reporter = Reporter(quiet=quiet)
    try:
        manifests = manifests or choose_manifests((), find_configuration(Path()), reporter)
    except ConfigurationInvalid as error:
        reporter.report_problems(error.findings)
        manifests = ()
    unchanged: list[str] = []
    code = max(
        (_format(shorten_path(manifest), reporter, unchanged, check=check) for manifest in manifests),
        default=ExitCode.USAGE,
    )
    if unchanged:
        names = unchanged[0] if len(unchanged) == 1 else f"{len(unchanged)} manifests"
        reporter.print_note(f"{names}: unchanged")
    reporter.finish()
    return code


def _format(manifest: Path, reporter: Reporter, unchanged: list[str], *, check: bool) -> ExitCode:
    """Format a manifest. One that was formatted is added to `unchanged`."""
    data = read_manifest_bytes(manifest, reporter)
    if data is None:
        return ExitCode.USAGE
    name = manifest.as_posix()
    try:
        old = json_text.decode(data)
        json_text.parse(old)
    except ProblemsFound as error:
        text = data.decode("utf-8", "replace")
        reporter.report_problems(Findings(file=name, text=text, problems=error.problems))
        return ExitCode.INVALID
    new = lay_out(old)
    if check and new != old:
        lines = difflib.unified_diff(old.split("\n"), new.split("\n"), name, name, lineterm="")
        reporter.print_diff([*lines] or [f"--- {name}", f"+++ {name}"])
        reporter.print_note(f"{name} is not formatted; run the same command without --check to write it")
        return ExitCode.DRIFT
    if manifest == STDIN and not check:
        sys.stdout.write(new)
    elif new != old:
        try:
            _write(manifest, new)
        except OSError as error:
            reporter.report_refusal(f"{name}: cannot write the manifest: {str(error.strerror).lower()}")
            return ExitCode.REFUSED
        reporter.print_note(f"formatted {name}")
    else:
        unchanged.append(name)
    return ExitCode.OK


def _write(manifest: Path, text: str) -> None:
    """Replace a file, or the one that a link leads to; it is the old or the new one wherever a run is killed."""
    target = manifest.resolve()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(target, name)
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
