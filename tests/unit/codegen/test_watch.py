"""`--watch` generates again after every save, and outlives what editors do to a file while they save it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import IO

import pytest

from tests.unit.codegen.contracts import contract, job
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.watch import Saves

GENERATOR = [sys.executable, "-m", "trellis_codegen"]
A, B = Path("a.json"), Path("b.json")


class Disk:
    """What the files look like, set by the test."""

    def __init__(self) -> None:
        self.files: dict[Path, tuple[int, int, int] | None] = {A: (1, 1, 1), B: (1, 1, 2)}

    def look(self, path: Path) -> tuple[int, int, int] | None:
        return self.files[path]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def saves(disk: Disk) -> Saves:
    result = Saves(disk.look)
    result.files([A, B])
    return result


def test_a_file_that_stays_as_it_is_was_not_saved(saves: Saves) -> None:
    assert [saves.since_last_time(), saves.since_last_time()] == [[], []]


def test_a_save_is_noticed_once_and_when_the_file_has_come_to_rest(disk: Disk, saves: Saves) -> None:
    looks: list[list[Path]] = []
    for size in (2, 3, 4, 4, 4):
        disk.files[A] = (2, size, 1)
        looks.append(saves.since_last_time())

    assert looks == [[], [], [], [A], []]


def test_a_file_that_is_gone_for_a_moment_was_replaced(disk: Disk, saves: Saves) -> None:
    looks: list[list[Path]] = []
    for state in (None, None, (1, 1, 9), (1, 1, 9)):
        disk.files[A] = state
        looks.append(saves.since_last_time())

    assert looks == [[], [], [], [A]]


def test_saves_of_two_files_are_noticed_together(disk: Disk, saves: Saves) -> None:
    disk.files = {A: (2, 1, 1), B: (2, 1, 2)}

    assert [saves.since_last_time(), saves.since_last_time()] == [[], [A, B]]


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


def test_every_save_is_generated_and_told(manifest: Path, watching: subprocess.Popen[str]) -> None:
    assert "watching x.json" in line_with(watching.stdout, "watching")
    assert "wrote __init__.py" in line_with(watching.stdout, " in ")

    manifest.write_text('{"format": "trellis.contr')
    assert "not JSON" in line_with(watching.stdout, "error:")
    edited = manifest.with_suffix(".new")
    edited.write_text(json.dumps(contract(jobs={"keep": job(maxDeliver=7)})))
    edited.replace(manifest)
    told = line_with(watching.stdout, " in ")
    os.utime(manifest)
    told_again = line_with(watching.stdout, " in ")
    watching.send_signal(signal.SIGINT)

    assert told.startswith("x.json: wrote _contract.py, contract.json, jobs.py in things_participant in 0.")
    assert told_again.startswith("x.json: nothing to write in things_participant in 0.")
    assert watching.wait(timeout=20) == ExitCode.INTERRUPTED
    assert "max_deliver=7" in (manifest.parent / "things_participant" / "jobs.py").read_text()
