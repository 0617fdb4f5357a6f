"""Does what the blocks of a guide say: those of one section in one repository, from first to last."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from unittest import mock

from tests.support.generator import Ended, run_generator
from tests.support.trellis_command import run_trellis_here

__all__ = ["Block", "Workspace", "normalize", "read_sections"]

_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE: Final = re.compile(r"# (\w+\.py)\n")
_JOB_ID: Final = re.compile(r"\b01[0-9A-Z]{24}\b")
_DURATION: Final = re.compile(r"\bin [\d.]+ ?s\b")
_DATE: Final = re.compile(r"\b20\d\d-\d\d-\d\d\b")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page."""

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines that a user types."""
        return re.findall(r"^\$ (.*)$", self.text, re.MULTILINE)

    @property
    def shows_output(self) -> bool:
        return len(self.commands) < len(self.text.splitlines())


def read_sections(page: Path) -> dict[str, list[Block]]:
    """Return the blocks below each heading that has any."""
    parts = re.split(r"^##+ (.*)\n", page.read_text(), flags=re.MULTILINE)[1:]
    return {
        title: [Block(*found) for found in _BLOCK.findall(text)]
        for title, text in zip(parts[::2], parts[1::2], strict=True)
        if "```" in text
    }


def normalize(output: str) -> str:
    """Return an output without what differs between two runs."""
    for pattern in (_DATE, _JOB_ID, _DURATION):
        output = pattern.sub("…", output)
    return output


class Workspace:
    """A repository with a manifest and its `pyproject.toml`, on a branch that begins at origin/main."""

    def __init__(self, folder: Path, manifest: str, files: dict[str, str], variables: dict[str, str]) -> None:
        """Create it.

        Args:
            folder: is created.
            manifest: the name of the file that diffs are about.
            files: what is merged, by name.
            variables: of the environment, for its commands.
        """
        self.folder = folder
        self._manifest = folder / manifest
        people = {
            f"GIT_{who}_{what}": "me@localhost"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {
            **os.environ,
            **people,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "PYTEST_ADDOPTS": "",
            "PATH": path,
            **variables,
        }
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        start = (
            "git init -q -b main && git init -q --bare .git/origin && git remote add origin .git/origin && "
            "git add . && git commit -qm start && git push -q origin main && git checkout -qb change"
        )
        subprocess.run(start, shell=True, cwd=folder, env=self._environment, check=True)  # noqa: S602 - fixed

    async def run(self, block: Block) -> str | None:
        """Do what a block says. Return what its commands print, with the commands."""
        if block.language == "console":
            printed = [
                f"$ {command}\n{await self.execute(command, fails=block.shows_output)}"
                for command in block.commands
            ]
            return "".join(printed)
        if block.language == "diff":
            self.edit(block.text)
        elif block.language == "toml":
            until = datetime.now(UTC).date() + timedelta(days=30)
            project = self.folder / "pyproject.toml"
            if block.text not in project.read_text():
                project.write_text(f"{project.read_text()}\n{_DATE.sub(str(until), block.text)}")
        elif block.language == "python":
            named = _FILE.match(block.text)
            (self.folder / (named[1] if named else "script.py")).write_text(block.text)
            if not named:
                await self.execute("python script.py")
        elif block.language not in {"json", "yaml"}:
            raise AssertionError(f"no test runs blocks of {block.language}")
        return None

    async def execute(self, command: str, *, fails: bool = False) -> str:
        """Run a command line as a user types it; return what it prints."""
        if command.startswith("trellis-gen "):
            ended = self.generate(command)
            code, printed = ended.exit_code, ended.stdout + ended.stderr
        elif command.startswith("trellis "):
            code, printed = await self._operate(command)
        else:
            code, printed = await self._run_process(command)
        if code and not fails:
            raise AssertionError(f"{command} ended with code {code}: {printed}")
        return printed

    def generate(self, command: str) -> Ended:
        """Run trellis-gen, in this process: that is faster."""
        return run_generator(*shlex.split(command)[1:], folder=self.folder)

    async def _operate(self, command: str) -> tuple[int, str]:
        """Run trellis, in this process: that is faster. What it imports of this folder is forgotten then."""
        known = set(sys.modules)
        importlib.invalidate_caches()
        with contextlib.chdir(self.folder), mock.patch.dict(os.environ, self._environment):
            ended = await run_trellis_here(*shlex.split(command)[1:])
        for name in set(sys.modules) - known:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(self.folder)):
                del sys.modules[name]
        return ended.code, ended.out + ended.error

    async def _run_process(self, command: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_shell(
            command,
            cwd=self.folder,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        return process.returncode or 0, printed.decode()

    def edit(self, diff: str) -> None:
        """Apply a diff of one hunk."""
        lines = diff.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] != "+")
        after = "".join(line[1:] for line in lines if line[0] != "-")
        text = self._manifest.read_text()
        if text.count(before) != 1:
            raise AssertionError(f"the manifest does not have these lines once:\n{before}")
        self._manifest.write_text(text.replace(before, after))
