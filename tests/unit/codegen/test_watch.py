"""`--watch` generates again after every save, however an editor saves."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import IO

import pytest
from pydantic import JsonValue

from tests.unit.codegen.contracts import contract, job, rpc
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.watch import SaveDetector

GENERATOR = [sys.executable, "-m", "trellis_codegen"]
A, B = Path("a.json"), Path("b.json")


class Disk:
    """The state of the files, set by the test."""

    def __init__(self) -> None:
        self.files: dict[Path, tuple[int, int, int] | None] = {A: (1, 1, 1), B: (1, 1, 2)}

    def read_stamp(self, path: Path) -> tuple[int, int, int] | None:
        return self.files[path]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def saves(disk: Disk) -> SaveDetector:
    result = SaveDetector(disk.read_stamp)
    result.add([A, B])
    return result


def test_an_unchanged_file_was_not_saved(saves: SaveDetector) -> None:
    assert [saves.find_saved(), saves.find_saved()] == [[], []]


def test_a_save_is_detected_once_when_the_file_stops_changing(disk: Disk, saves: SaveDetector) -> None:
    polls: list[list[Path]] = []
    for size in (2, 3, 4, 4, 4):
        disk.files[A] = (2, size, 1)
        polls.append(saves.find_saved())

    assert polls == [[], [], [], [A], []]


def test_a_file_that_is_missing_for_a_moment_was_replaced(disk: Disk, saves: SaveDetector) -> None:
    polls: list[list[Path]] = []
    for state in (None, None, (1, 1, 9), (1, 1, 9)):
        disk.files[A] = state
        polls.append(saves.find_saved())

    assert polls == [[], [], [], [A]]


def test_saves_of_two_files_are_detected_together(disk: Disk, saves: SaveDetector) -> None:
    disk.files = {A: (2, 1, 1), B: (2, 1, 2)}

    assert [saves.find_saved(), saves.find_saved()] == [[], [A, B]]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(contract(jobs={"keep": job()})))
    return path


@pytest.fixture
def watching(manifest: Path) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*GENERATOR, "facade", manifest.name, "--watch"],
        cwd=manifest.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        yield run
        run.kill()


def line_with(stream: IO[str] | None, word: str) -> str:
    """Wait for a line; the time limit of the test is the limit."""
    for line in stream or ():
        if word in line:
            return line
    return "the command has ended"


def test_every_save_is_generated_and_reported(manifest: Path, watching: subprocess.Popen[str]) -> None:
    assert "watching x.json" in line_with(watching.stdout, "watching")
    assert "wrote __init__.py" in line_with(watching.stdout, " in ")

    manifest.write_text('{"format": "trellis.contr')
    assert "not JSON" in line_with(watching.stdout, "error[")
    edited = manifest.with_suffix(".new")
    edited.write_text(json.dumps(contract(jobs={"keep": job(maxDeliver=7)})))
    edited.replace(manifest)
    reported = line_with(watching.stdout, " in ")
    os.utime(manifest)
    reported_again = line_with(watching.stdout, " in ")
    watching.send_signal(signal.SIGINT)

    assert re.fullmatch(
        r"x\.json: wrote _contract\.py, contract\.json, jobs\.py in things_participant in \d+\.\d\d s\n",
        reported,
    )
    assert re.fullmatch(r"x\.json: things_participant is up to date in \d+\.\d\d s\n", reported_again)
    assert watching.wait(timeout=20) == ExitCode.INTERRUPTED
    assert "max_deliver=7" in (manifest.parent / "things_participant" / "jobs.py").read_text()


def test_a_save_of_a_used_contract_generates_again(manifest: Path, watching: subprocess.Popen[str]) -> None:
    use: JsonValue = {"contract": "shop@v1", "rpc": {"call": ["Buy"]}}
    shop = manifest.with_name("shop.json")
    shop.write_text(json.dumps(contract(id="shop@v1", rpc={"Buy": rpc("Buy")})))
    assert "wrote __init__.py" in line_with(watching.stdout, "wrote")
    manifest.write_text(json.dumps(contract(uses={"required": {"shop": use}})))
    assert "was not found" in line_with(watching.stdout, "error[")
    (manifest.parent / "pyproject.toml").write_text('[tool.trellis-gen]\nwith = ["shop.json"]\n')
    assert line_with(watching.stdout, "x.json: wrote")

    shop.write_text(json.dumps(contract(id="shop@v1", rpc={"Buy": rpc("Buy", subject="rpc.v2.Buy")})))

    assert "wrote uses/shop/rpc.py in" in line_with(watching.stdout, "x.json: wrote")


def test_two_contracts_of_one_package_are_refused(manifest: Path) -> None:
    other = manifest.with_name("y.json")
    other.write_text(manifest.read_text())
    tables = (f'[[tool.trellis-gen.contracts]]\nmanifest = "{path.name}"\n' for path in (manifest, other))
    (manifest.parent / "pyproject.toml").write_text("".join(tables))
    with subprocess.Popen(
        [*GENERATOR, "facade", "--watch"],
        cwd=manifest.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        refused = line_with(run.stdout, "would be")
        run.kill()

    assert refused.startswith("error: things_participant would be the package of x.json and of y.json")
