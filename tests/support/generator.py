"""Runs `trellis-gen` in this process, which has imported everything already."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

from trellis_codegen.cli.application import run_command
from trellis_codegen.cli.guard import run_guarded

__all__ = ["Ended", "run_generator"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it printed."""

    exit_code: int
    stdout: str
    stderr: str


def run_generator(*arguments: object, folder: Path | None = None) -> Ended:
    """Run the command with its guard, in a folder: by default the current one."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        exit_code = run_guarded(lambda: run_command([*map(str, arguments)]))
    return Ended(exit_code, out.getvalue(), err.getvalue())
