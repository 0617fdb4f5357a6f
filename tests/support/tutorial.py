"""Follows a tutorial as a reader does: writes its files, applies its edits, runs its commands, and compares what they print.

`python -m tests.support.tutorial PAGE`, in an empty folder and with NATS_URL. One process does it all, because starting
Python for each command takes longer than what the commands do.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import runpy
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Final
from unittest import mock

import pytest
import trellis_admin.cli
from pydantic import JsonValue
from trellis_nats import Service
from typing_extensions import override

import trellis_codegen.cli
from tests.support.eventually import eventually

__all__ = ["Reader", "apply_edit", "is_printed", "merged"]

_BLOCK: Final = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_VARIES: Final = {
    "ulid": r"\b[0-9A-HJKMNP-TV-Z]{26}\b",
    "uuid": r"\b[0-9a-f]{32}\b",
    "duration": r"\b\d+(?:\.\d+)? ?(?:ms|s|m)\b",
    "blanks": r" +",
}
"""What another run prints differently."""
_LEFT_OUT: Final = "…"
_TOKENS: Final = re.compile(
    "|".join(f"(?P<{name}>{shape})" for name, shape in _VARIES.items()) + f"|{_LEFT_OUT}"
)
_LISTENING: Final = "listening"
"""What a command prints once it sees what others do."""
_PYTEST: Final = (
    "--capture=no",  # its terminal writes to the file descriptor otherwise
    "--disable-plugin-autoload",  # those of this repository take a second to import
    *("-p", "pytest_asyncio.plugin", "-p", "trellis_nats.testing.plugin"),
    *("-p", "no:cacheprovider", "-p", "no:warnings"),
)
_WITHIN: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code."""

    language: str
    title: str
    text: str


@dataclass
class _Running:
    task: asyncio.Task[None]
    printed: StringIO
    expected: list[str] = field(default_factory=list[str])


class _Router(StringIO):
    """Standard output of whichever command prints."""

    def __init__(self) -> None:
        super().__init__()
        self.current: ContextVar[StringIO] = ContextVar("current")

    @override
    def write(self, text: str, /) -> int:
        return self.current.get().write(text)


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page in their order."""
    return [Block(*found.groups(default="")) for found in _BLOCK.finditer(page)]


def merged(base: JsonValue, change: JsonValue) -> JsonValue:
    """Return the base with the members of the change in place of its own; None removes a member."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    whole = {**base}
    for name, value in change.items():
        if value is None:
            del whole[name]
        else:
            whole[name] = merged(whole.get(name), value)
    return whole


def apply_edit(text: str, edit: str) -> str:
    """Return the text after an edit that is written as a diff. A line of `@@` begins another place.

    Raises:
        ValueError: the lines are not there, or more than once.
    """
    for place in re.split(r"^@@.*\n", edit, flags=re.MULTILINE):
        lines = place.splitlines(keepends=True)
        before = "".join(line[1:] or "\n" for line in lines if not line.startswith("+"))
        after = "".join(line[1:] or "\n" for line in lines if not line.startswith("-"))
        if text.count(before) != 1:
            raise ValueError(f"these lines are there {text.count(before)} times:\n{before}")
        text = text.replace(before, after)
    return text


def is_printed(expected: list[str], printed: str) -> bool:
    """Return whether the lines were printed in this order, but for what varies and what the page leaves out."""
    lines = iter(printed.splitlines())
    return all(any(re.fullmatch(_pattern(line.strip()), one.strip()) for one in lines) for line in expected)


def _pattern(line: str) -> str:
    pattern, end = "", 0
    for token in _TOKENS.finditer(line):
        stands_for = _VARIES[token.lastgroup] if token.lastgroup else ".*"
        pattern += re.escape(line[end : token.start()]) + stands_for
        end = token.end()
    return pattern + re.escape(line[end:])


class Reader:
    """Does what the blocks say, one after the other."""

    def __init__(self) -> None:
        self.running: dict[str, _Running] = {}
        self.output = _Router()
        self.started = asyncio.Event()

    async def follow(self, page: str) -> None:
        """Follow the page to its end."""
        with (
            mock.patch.object(sys, "stdout", self.output),
            mock.patch.object(Service, "start", self._noticing(Service.start)),
        ):
            for block in blocks_of(page):
                if block.language == "console":
                    await self._type(block.text)
                elif block.title:
                    self._edit(block)
            for command in list(self.running):
                await self._stop(command)

    def _edit(self, block: Block) -> None:
        name, _, how = block.title.partition(", ")
        path = Path(name)
        if how == "merged" or how.startswith("from "):
            base = json.loads(Path(how.removeprefix("from ") if how != "merged" else name).read_text())
            path.write_text(json.dumps(merged(base, json.loads(block.text)), indent=2))
        elif block.language == "diff":
            path.write_text(apply_edit(path.read_text(), block.text))
        else:
            path.write_text(block.text)

    async def _type(self, text: str) -> None:
        for entered in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, *expected = entered.rstrip("\n").splitlines()
            if command == "trellis up":
                continue  # the server is there
            if command in {"python main.py", "python listen.py"}:
                await self._start(command, expected)
                continue
            printed = await self._run(command)
            _compare(command, expected, printed)

    async def _start(self, command: str, expected: list[str]) -> None:
        if command in self.running:
            await self._stop(command)
        printed = StringIO()
        self.started.clear()
        task = asyncio.create_task(self._program(command, printed))
        self.running[command] = _Running(task, printed, expected)
        if expected[:1] == [_LISTENING]:
            await eventually(lambda: _LISTENING in printed.getvalue() or task.done(), within=_WITHIN)
        else:
            await eventually(lambda: self.started.is_set() or task.done(), within=_WITHIN)
        if task.done():
            task.result()

    async def _stop(self, command: str) -> None:
        program = self.running.pop(command)
        await eventually(
            lambda: is_printed(program.expected, program.printed.getvalue()) or program.task.done(),
            within=_WITHIN,
        )
        if command == "python main.py":
            os.kill(os.getpid(), signal.SIGTERM)
            await program.task
        else:
            program.task.cancel()
            await asyncio.wait([program.task])
        _compare(command, program.expected, program.printed.getvalue())

    async def _run(self, command: str) -> str:
        printed = StringIO()
        words = shlex.split(command)
        match words[0]:
            case "python":
                await self._program(command, printed)
            case "pytest":
                arguments = [*words[1:], *_PYTEST]
                await self._call(lambda: pytest.main(arguments), words, printed)
            case "trellis":
                await self._call(trellis_admin.cli.main, words, printed)
            case "trellis-gen":
                await self._call(trellis_codegen.cli.main, words, printed)
            case _:
                raise ValueError(f"the tutorial has a command that the test does not run: {command}")
        return printed.getvalue()

    async def _call(self, main: Callable[[], object], words: list[str], printed: StringIO) -> None:
        self.output.current.set(printed)
        _forget_modules()

        def call() -> None:
            with mock.patch.object(sys, "argv", words), mock.patch.object(sys, "stderr", printed):
                try:
                    main()
                except SystemExit as end:
                    printed.write(f"\nexit code {end.code}\n")

        await asyncio.to_thread(call)

    async def _program(self, command: str, printed: StringIO) -> None:
        self.output.current.set(printed)
        _forget_modules()
        script, *arguments = shlex.split(command)[1:]
        with mock.patch.object(sys, "argv", [script, *arguments]):
            main = runpy.run_path(script, run_name="tutorial")["main"]
            await main()

    def _noticing(self, start: Callable[[Service], Awaitable[None]]) -> Callable[[Service], Awaitable[None]]:
        async def start_and_notice(service: Service) -> None:
            await start(service)
            self.started.set()

        return start_and_notice


def _forget_modules() -> None:
    """Let the next program read the files as they are now."""
    here = str(Path.cwd())
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(here):
            del sys.modules[name]


def _compare(command: str, expected: list[str], printed: str) -> None:
    if not is_printed(expected, printed):
        raise AssertionError(f"$ {command}\nprinted:\n{printed}\nexpected:\n" + "\n".join(expected))
    sys.stderr.write(f"$ {command}\n{printed}\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    asyncio.run(Reader().follow(Path(sys.argv[1]).read_text(encoding="utf-8")))
