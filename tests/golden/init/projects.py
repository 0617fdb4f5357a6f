"""The projects that `trellis-gen init` writes, one of each template, and the texts that they are expected to have.

Each text has the files for the project's author, one below the other: not the package, which other golden cases show.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.support.generator import run_generator

__all__ = ["PROJECTS", "find_golden", "make_projects", "show_project"]

HERE: Final = Path(__file__).parent
PROJECTS: Final = {
    "mailing": ("--template", "jobs"),
    "reports": ("--template", "rpc"),
    "reports-client": ("--contract", "reports/contracts/reports.manifest.json"),
}
"""The name of each project, and the options that it is made with."""


def make_projects(folder: Path) -> None:
    """Write every project into a folder of its name."""
    for name, options in PROJECTS.items():
        ended = run_generator("init", name, *options, folder=folder)
        assert ended.exit_code == 0, ended.stderr


def show_project(folder: Path) -> str:
    """Return the files of a project that are for its author."""
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(_is_generated(part) for part in path.relative_to(folder).parts)
    ]
    texts = {path.relative_to(folder).as_posix(): path.read_text() for path in paths}
    return "".join(f"===== {name}\n\n{text}\n" for name, text in texts.items())


def _is_generated(part: str) -> bool:
    return part in {"__pycache__", "schema"} or part.endswith("_participant")


def find_golden(name: str) -> Path:
    """Return the file that has the expected text of a project."""
    return HERE / f"{name}.txt"
