"""The guides show code that parses and names that exist."""

import ast
import re
from importlib import import_module
from pathlib import Path

import everything_participant
import orders_participant
import pytest
import trellis_nats
import trellis_nats.testing
from trellis_nats._support.log_events import LogEvent

ROOT = Path(__file__).parents[2]
DEVICE = ROOT / "tests/golden/cases/device/expected/gadget_participant"
"""The package of the guide to state."""
RUN = {"tutorial.md", "changing-a-contract.md"}
"""Another test runs the code of these pages."""
FOREIGN = {"Celery", "arq", "taskiq", "Temporal"}
"""The packages whose code the pages of docs/coming-from show."""
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in RUN),
]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL), start=1)
]


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_python_and_names_what_exists(block: str) -> None:
    tree = compile(block, "block", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    uppercase = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id[0].isupper()]
    names = {node.id for node in uppercase if isinstance(node.ctx, ast.Load)}
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if hasattr(import_module(str(node.module)), alias.name)
    }
    known = {
        "AsyncIterator",
        "Path",
        "UTC",
        "TimeoutError",
        *imported,
        *(node.id for node in uppercase if isinstance(node.ctx, ast.Store)),
        *(node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)),
        *orders_participant.__all__,
        *everything_participant.__all__,
        *trellis_nats.__all__,
        *trellis_nats.testing.__all__,
        *device_names(),
        *(
            "CHARGE",
            "FakeGateway",
            "ITEMS",
            "RESERVE",
            "Remote",
        ),  # the first block of testing.md defines them
        "Orders",  # the first block of web-apps.md defines it
        *(
            "PhotosShrinkOperation",
            "ShrinkJob",
            "ShrinkPayload",
            "ShrinkProgress",
            "ShrinkResult",
        ),  # operations.md
    }

    assert names - known == set()


def test_code_of_other_packages_is_marked_and_is_python() -> None:
    """A block with the title of another package shows what users of it write. It is not installed here."""
    titled = [
        block for page in PAGES for block in re.findall(r"```python (.*)\n((?:.*\n)*?)```", page.read_text())
    ]

    assert {title for title, _ in titled} == {f'title="{name}"' for name in FOREIGN}
    for _, block in titled:
        ast.parse(block)


def device_names() -> set[str]:
    return {*re.findall(r'^    "(\w+)",$', (DEVICE / "__init__.py").read_text(), re.MULTILINE)}


def test_the_log_events_of_the_guide_exist() -> None:
    """The names in the first cells after the level of each row of the table."""
    guide = (ROOT / "docs/guides/health.md").read_text()
    rows = re.findall(r"^\| (?:INFO|WARNING|ERROR) \| ([^|]*) \|", guide, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    assert len(named) > 10
    assert named - set(LogEvent) == set()
