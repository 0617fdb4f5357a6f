"""Write what the generator makes today into the golden folders; the reviewer reads the diff.

Run as `python -m tests.golden.refresh`.
"""

import shutil
import tempfile
from pathlib import Path

from tests.golden.folders import EXPECTED, EXPECTED_TEXT, folders, generate, without_build
from tests.golden.init.projects import PROJECTS, find_golden, make_projects, show_project
from trellis_codegen.output.index import INDEX_NAME


def refresh() -> None:
    """Replace what every case expects."""
    for case in folders("cases"):
        shutil.rmtree(case / EXPECTED, ignore_errors=True)
        _, said = generate(case, case / EXPECTED)
        for index in (case / EXPECTED).glob(f"*/{INDEX_NAME}"):
            index.write_bytes(without_build(index.read_bytes()))
        _say(case, said)
    for case in folders("rejects"):
        with tempfile.TemporaryDirectory() as nowhere:
            code, said = generate(case, Path(nowhere))
        _say(case, f"{said}exit {code}\n")
    with tempfile.TemporaryDirectory() as folder:
        make_projects(Path(folder))
        for name in PROJECTS:
            find_golden(name).write_text(show_project(Path(folder) / name))


def _say(case: Path, said: str) -> None:
    path = case / EXPECTED_TEXT
    if said:
        path.write_text(said)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    refresh()
