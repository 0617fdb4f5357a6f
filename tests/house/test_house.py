"""The coding rules that a test can check."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import trellis_nats

from tests.house.sources import ROOT, handwritten

LINES_MAX = 450
FUNCTION_LINES_MAX = 60
SOURCES = ("trellis_codegen", "runtime/trellis_nats", "admin/trellis_admin")
PUBLIC_MODULES = {
    # what participants are made of
    *("client", "connect", "control_plane", "run", "runtime", "service", "surface", "testing"),
    # surfaces
    *("events", "feeds", "jobs", "kv", "operations", "rpc", "state", "stores", "transfers"),
    # what surfaces declare, and what is done with it
    *("grants", "health", "metrics", "permissions", "provision"),
    # values that generated code and users exchange
    *("auth", "binding", "blocking", "clock", "codec", "context", "contract", "errors", "ids"),
    *("json_types", "model", "options", "specs"),
}


def public_definitions(tree: ast.Module) -> list[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    found: list[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef] = []
    scopes: list[ast.Module | ast.ClassDef] = [tree]
    for scope in scopes:
        for node in scope.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("_"):
                continue
            found.append(node)
            if isinstance(node, ast.ClassDef):
                scopes.append(node)
    return found


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield all statements, and no expressions: most nodes are in those."""
    found: list[ast.AST] = [tree]
    for node in found:
        children = ast.iter_child_nodes(node)
        found += [
            child for child in children if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case)
        ]
        yield node


def is_overload(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list)


def test_no_handwritten_file_has_more_than_450_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in handwritten()}

    assert lengths, "no file was found, so the rule was not checked"
    assert {name: length for name, length in lengths.items() if length > LINES_MAX} == {}


def test_no_handwritten_function_has_more_than_60_lines() -> None:
    lengths = {
        f"{path.relative_to(ROOT)}::{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in handwritten()
        if path.suffix == ".py" and len((text := path.read_text()).splitlines()) > FUNCTION_LINES_MAX
        for node in statements(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert lengths, "no function was found, so the rule was not checked"
    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES_MAX} == {}


def test_no_two_files_of_the_jobs_share_a_name() -> None:
    names = Counter(path.name for path in (ROOT / "runtime/trellis_nats/jobs").rglob("*.py"))
    del names["__init__.py"]

    assert names, "no file was found, so the rule was not checked"
    assert [name for name, count in names.items() if count > 1] == []


def test_the_runtime_has_few_public_modules() -> None:
    """What has no underscore may be imported by users: a new module belongs into a folder, or needs a reason."""
    names = {
        path.stem
        for path in (ROOT / "runtime/trellis_nats").iterdir()
        if path.suffix == ".py" or path.is_dir()
    }

    assert {name for name in names if not name.startswith("_")} == PUBLIC_MODULES


def test_the_public_names_of_the_runtime_are_those_that_it_lists() -> None:
    public = {
        name
        for name, value in vars(trellis_nats).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }

    assert len(trellis_nats.__all__) == len(set(trellis_nats.__all__))
    assert public == set(trellis_nats.__all__)


@pytest.mark.parametrize("source", SOURCES)
def test_every_public_name_has_a_docstring(source: str) -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sorted((ROOT / source).rglob("*.py"))
        for node in public_definitions(ast.parse(path.read_text()))
        if ast.get_docstring(node) is None and not is_overload(node)
    ]

    assert bare == []


def test_the_command_for_operators_stands_on_the_runtime_alone() -> None:
    """`trellis_admin` imports `trellis_nats` and neither the generator nor nats-py; neither of the others imports it."""
    imported = {name: imports_of(name) for name in SOURCES}

    assert "trellis_nats" in imported["admin/trellis_admin"]
    assert imported["admin/trellis_admin"] & {"trellis_codegen", "nats"} == set()
    assert "trellis_admin" not in imported["trellis_codegen"] | imported["runtime/trellis_nats"]


def test_only_the_console_imports_what_the_extra_web_installs() -> None:
    extra = {"jinja2", "markupsafe", "starlette", "uvicorn"}

    assert imports_of("admin/trellis_admin/web") >= extra
    assert imports_of("admin/trellis_admin", without="web") & extra == set()


def imports_of(source: str, *, without: str | None = None) -> set[str]:
    return {
        name
        for path in (ROOT / source).rglob("*.py")
        if without not in path.relative_to(ROOT / source).parts[:1]
        for name in imported_by(path)
    }


@cache
def imported_by(path: Path) -> frozenset[str]:
    nodes = list(statements(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return frozenset(
        name.partition(".")[0]
        for name in plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    )


def test_no_file_names_a_registry_host() -> None:
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "registry." + "npmjs")
    named = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in [*handwritten(), *ROOT.glob("*.toml"), *ROOT.glob("*.md"), *ROOT.glob("constraints/*")]
        for host in hosts
        if host in path.read_text()
    ]

    assert named == []


@pytest.mark.parametrize("page", ["docs/comparison.md", "docs/guarantees.md"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    files = re.findall(r"\b(tests/[\w/]+(?:\.py)?)", text)
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)", text)

    assert files, "no test was found, so the rule was not checked"
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert [
        f"{file}::{test}" for file, test in tests if f"def {test}(" not in (ROOT / file).read_text()
    ] == []
