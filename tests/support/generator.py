"""Runs `trellis-gen` in this process, which has imported everything already."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from trellis_codegen.cli.application import run_command
from trellis_codegen.cli.guard import run_guarded

__all__ = ["Ended", "run_generator"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it printed."""

    exit_code: int
    stdout: str
    stderr: str


def run_generator(*arguments: object, folder: Path | None = None, text: str = "") -> Ended:
    """Run the command with its guard and a text on its standard input, in a folder: by default the current one."""
    out, err = io.StringIO(), io.StringIO()
    standard_input = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")
    with (
        contextlib.chdir(folder or Path.cwd()),
        mock.patch.object(sys, "stdin", standard_input),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        exit_code = run_guarded(lambda: run_command([*map(str, arguments)]))
    return Ended(exit_code, out.getvalue(), err.getvalue())
