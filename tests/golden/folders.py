"""The golden cases: a folder each, with a manifest and what becomes of it.

`cases/<name>/` has the package under `expected/` and what was said in `expected.txt`, if anything was; `rejects/<name>/` has
what was said and nothing else.
"""

import contextlib
import io
import os
import re
from collections.abc import Generator
from pathlib import Path

from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.facade import run
from trellis_codegen.cli.requests import Request
from trellis_codegen.cli.targets import Choices, OtherSource

HERE = Path(__file__).parent
MANIFEST = "manifest.json"
EXPECTED = "expected"
WITH = "with"
EXPECTED_TEXT = "expected.txt"


def folders(kind: str) -> list[Path]:
    """Return the case folders of a kind: `cases` or `rejects`."""
    return sorted(path.parent for path in (HERE / kind).glob(f"*/{MANIFEST}"))


def generate(case: Path, out: Path) -> tuple[ExitCode, str]:
    """Run the generator inside a case folder, and return its exit code and messages.

    The contracts that the manifest may use are in `with/`, next to it.

    The line with what was written is left out: it names `out`.
    """
    said = io.StringIO()
    others = (OtherSource(WITH),) if (case / WITH).is_dir() else ()
    with inside(case), contextlib.redirect_stderr(said):
        code = run(Request(choices=Choices(manifest=Path(MANIFEST), out=out, others=others)))
    lines = said.getvalue().splitlines(keepends=True)
    return code, "".join(line for line in lines if not line.startswith("wrote "))


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(folder).as_posix(): without_build(path.read_bytes()) for path in sorted(files)}


def without_build(data: bytes) -> bytes:
    """Return an index without the hash of the generator's source, which every edit of the generator changes."""
    return re.sub(rb'"build": "[0-9a-f]+"', b'"build": ""', data)


def expected_text(case: Path) -> str:
    """Return what a case is expected to say."""
    path = case / EXPECTED_TEXT
    return path.read_text() if path.exists() else ""


@contextlib.contextmanager
def inside(folder: Path) -> Generator[None]:
    """Work in `folder`, so that messages name the manifest as its author would."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
