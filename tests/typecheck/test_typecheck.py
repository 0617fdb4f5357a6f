"""Generated packages, what users write with them and what the pages show, under pyright strict and mypy --strict.

Each checker runs once over everything. A line marked `# refused` must be refused, and no other line may be; one marked
`# refused by pyright` must be refused by that checker alone.
"""

import re
import shutil
from pathlib import Path
from typing import TypeAlias

import pytest
from pydantic import JsonValue

from tests.golden.init.projects import PROJECTS, make_projects
from tests.support.build_once import build_once
from tests.support.generated import generated
from tests.support.real_manifests import NAMES, build_real_packages
from tests.support.type_checkers import run_mypy, run_pyright
from tests.typecheck.guides import page_files
from tests.unit.codegen.contracts import contract, rpc
from tests.unit.codegen.shapes import SHAPES
from trellis_codegen import naming

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "typecheck" / "cases"
EXAMPLE = ROOT / "examples" / "orders_service" / "orders_participant"
EVERYTHING = ROOT / "tests" / "golden" / "everything"
GOLDEN = ROOT / "tests" / "golden" / "cases"
MARK = "  # refused"

Line: TypeAlias = tuple[str, int]

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a folder with every generated package, under a name of its own, and the users' files."""

    def fill(folder: Path) -> None:
        packages = {path.name: path for path in (EXAMPLE, *sorted(EVERYTHING.glob("*_participant")))}
        packages |= {f"{path.parts[-3]}_package": path for path in sorted(GOLDEN.glob("*/expected/*"))}
        for name, path in packages.items():
            shutil.copytree(path, folder / name)
        if NAMES:
            shutil.copytree(build_real_packages(tmp_path_factory, worker_id), folder, dirs_exist_ok=True)
        for case in CASES.glob("*.py"):
            shutil.copy(case, folder)
        for name, text in page_files().items():
            (folder / name).write_text(text)
        generated(shapes(), folder)
        add_new_projects(folder, build_once(tmp_path_factory, worker_id, "projects", make_projects))

    return build_once(tmp_path_factory, worker_id, "typecheck", fill)


def add_new_projects(folder: Path, made: Path) -> None:
    """Add what `trellis-gen init` writes, each project as a package: all of them have a module `main`."""
    for name in PROJECTS:
        package = folder / f"{naming.attribute(name)}_project"
        package.mkdir()
        (package / "__init__.py").touch()
        modules = [path.stem for path in (made / name).glob("*.py")]
        for path in (*(made / name).glob("*.py"), *(made / name).glob("tests/*.py")):
            text = re.sub(
                rf"^from ({'|'.join(modules)}) import",
                r"from .\1 import",
                path.read_text(),
                flags=re.MULTILINE,
            )
            (package / path.name).write_text(text)
        for path in (made / name).glob("*_participant"):
            shutil.copytree(path, folder / path.name, dirs_exist_ok=True)


def shapes() -> JsonValue:
    """Return a contract whose queues and RPCs have schemas of every shape."""
    references: list[JsonValue] = [{"schema": name} for name in SHAPES]
    return contract(
        schemas={name: shape.schema for name, shape in SHAPES.items()},
        jobs={
            f"job-{name}": {"payload": reference, "result": reference, "update": reference}
            for name, reference in zip(SHAPES, references, strict=True)
        },
        rpc={
            f"Shapes.{name}": rpc(f"Shapes.{name}", input=reference, output=reference)
            for name, reference in zip(SHAPES, references, strict=True)
        },
    )


def refused(project: Path, checker: str) -> set[Line]:
    """Return the lines that are marked for a checker."""
    return {
        (path.name, number)
        for path in project.glob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if line.endswith((MARK, f"{MARK} by {checker}"))
    }


def test_pyright_strict_refuses_the_marked_lines_and_no_others(project: Path) -> None:
    said = {
        (Path(each["file"]).relative_to(project).as_posix(), each["range"]["start"]["line"] + 1): each[
            "message"
        ]
        for each in run_pyright(project)
    }
    assert_exactly(said, refused(project, "pyright"))


def test_mypy_strict_refuses_the_marked_lines_and_no_others(project: Path) -> None:
    lines = [re.match(r"(.+?):(\d+): error: (.*)", line) for line in run_mypy(project).splitlines()]
    assert_exactly({(line[1], int(line[2])): line[3] for line in lines if line}, refused(project, "mypy"))


def assert_exactly(said: dict[Line, str], marked: set[Line]) -> None:
    """Fail with what was said beyond the marks, and with the marks that nothing was said about."""
    assert {line: message for line, message in said.items() if line not in marked} == {}
    assert marked - said.keys() == set()
