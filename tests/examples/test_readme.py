"""The statements of the README are true."""

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMPARISON = (ROOT / "docs/comparison.md").read_text()


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))

    assert {"demo", "test"} <= named
    assert {target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S607 - as the user types it

    for target in (
        "help",
        "setup",
        "demo",
        "test",
        "check",
        "format",
        "verify",
        "bench",
        "faults",
        "build",
        "clean",
    ):
        assert f"make {target} " in listed


def test_the_figures_are_those_of_the_comparison() -> None:
    systems = {
        "trellis-nats": "trellis-nats",
        "taskiq-nats": "taskiq-nats, defaults",
        "FastStream": "FastStream, defaults",
    }
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in README.splitlines()
        if line[:2] in {"| ", "|a"}
    ]
    table = next(rows[index:] for index, row in enumerate(rows) if row[1:] == list(systems))

    for column, system in enumerate(systems.values(), start=1):
        measured = re.search(rf"^\| {system} \| (.*) \|$", COMPARISON, re.MULTILINE)
        assert measured is not None
        runs, short, _, long, producer = measured[1].split(" | ")
        assert [row[column].removesuffix(" times").removesuffix(" time") for row in table[1:5]] == [
            runs,
            short,
            long,
            producer,
        ]


def test_every_extra_is_explained() -> None:
    page = (ROOT / "docs/start/install.md").read_text()
    for folder in ("runtime", "admin"):
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        explained = set(re.findall(rf"^\| `{project['name']}\[(\w+)\]`", page, re.MULTILINE))

        assert explained == set(project["optional-dependencies"])


def test_the_tree_that_is_described_is_there() -> None:
    described = re.findall(r"^\| `([^`]+)`", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)

    assert described
    assert [name for name in described if not (ROOT / name).exists()] == []
