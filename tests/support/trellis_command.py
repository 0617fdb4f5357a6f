"""Runs the command `trellis`."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest import mock

from trellis_admin.cli import main

__all__ = ["Ended", "run_trellis", "run_trellis_here"]

_ROOT: Final = Path(__file__).parents[2]
_COMMAND: Final = "import sys; from trellis_admin.cli import main; main()"


@dataclass
class Ended:
    """How a run ended."""

    code: int
    out: str
    error: str


async def run_trellis(*arguments: str | Path, cwd: Path = _ROOT) -> Ended:
    """Run the command in a process of its own."""
    paths = [_ROOT, _ROOT / "admin", _ROOT / "runtime"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _COMMAND, *map(str, arguments)),
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "NO_COLOR": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), error.decode())


async def run_trellis_here(*arguments: str | Path) -> Ended:
    """Run the command in a thread of this process, which has imported everything already."""
    out, error = io.StringIO(), io.StringIO()

    def run() -> int:
        with (
            mock.patch.object(sys, "argv", ["trellis", *map(str, arguments)]),
            redirect_stdout(out),
            redirect_stderr(error),
        ):
            try:
                main()
            except SystemExit as end:
                return int(end.code or 0)
        return 0

    code = await asyncio.to_thread(run)
    return Ended(code, out.getvalue(), error.getvalue())
