"""Runs the type checkers, in their strict modes, over generated code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["run_mypy", "run_pyright"]

_RUNTIME = str(Path(__file__).parents[2] / "runtime")


def run_pyright(folder: Path) -> list[dict[str, Any]]:
    """Return what pyright says about a folder: the `generalDiagnostics` of its JSON."""
    settings = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "include": ["."],
        "extraPaths": [_RUNTIME],
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    ended = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "--outputjson", "-p", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    found: list[dict[str, Any]] = json.loads(ended.stdout)["generalDiagnostics"]
    return found


def run_mypy(folder: Path) -> str:
    """Return what mypy prints about a folder."""
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--cache-dir", "/dev/null", "."],
        cwd=folder,
        env={"MYPYPATH": _RUNTIME},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
