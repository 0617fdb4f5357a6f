"""Runs the tests and the demo of each project that the command line names, in one process: importing takes most of the time.

Prints `<folder name> <exit code of pytest>` after each, and what pytest and the demo print before.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import pytest

PYTEST = ("-q", "-W", "error", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider")
"""Without the other plugins of this environment, most of which a new project does not have."""


def run(folder: Path) -> None:
    """Run a project as its author would, inside its folder."""
    os.chdir(folder)
    path = [*sys.path]
    code = pytest.main([*PYTEST])
    sys.path[:] = [str(folder), *path]
    runpy.run_path("demo.py", run_name="__main__")
    sys.path[:] = path
    for name, module in [*sys.modules.items()]:  # every project has a module `main`
        if str(getattr(module, "__file__", None)).startswith(f"{folder}{os.sep}"):
            del sys.modules[name]
    sys.stdout.write(f"{folder.name} {int(code)}\n")


if __name__ == "__main__":
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for argument in sys.argv[1:]:
        run(Path(argument))
