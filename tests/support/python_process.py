"""Processes of their own for tests, forked from one that has imported the runtime."""

from __future__ import annotations

import asyncio
import atexit
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from tests.support.fork_server import LENGTH_BYTES, Request

__all__ = ["ROOT", "PythonProcess", "python_process"]

ROOT: Final = Path(__file__).parents[2]
_RUN: Final = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
"""The workers of one run share a server."""
_held: dict[Path, socket.socket] = {}
"""A connection to each server, which ends with the last of them."""


class PythonProcess:
    """A process, as asyncio has it."""

    def __init__(
        self, pid: int, exit_code: asyncio.Task[int], stdout: asyncio.StreamReader, stdin: int
    ) -> None:
        self.pid: Final = pid
        self.stdout: Final = stdout
        self._exit_code = exit_code
        self._stdin = stdin

    @property
    def returncode(self) -> int | None:
        """The exit code, or the negative number of a signal; None while it runs."""
        return self._exit_code.result() if self._exit_code.done() else None

    async def wait(self) -> int:
        """Wait for the end, and return `returncode`."""
        return await asyncio.shield(self._exit_code)

    def send_line(self) -> None:
        """Send an empty line to its standard input, unless it has ended."""
        with suppress(BrokenPipeError):
            os.write(self._stdin, b"\n")

    def send_signal(self, which: signal.Signals) -> None:
        """Send a signal.

        Raises:
            ProcessLookupError: it has ended.
        """
        if self.returncode is not None:
            raise ProcessLookupError(self.pid)
        os.kill(self.pid, which)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


@asynccontextmanager
async def python_process(
    module: str, *arguments: object, is_developed: bool = False, errors: int = 2
) -> AsyncGenerator[PythonProcess]:
    """Run a module as `python -m` does, for the length of an `async with` block; it is killed at the end.

    `is_developed` is Python's development mode; `errors` is the file for its errors.
    """
    # The descriptors of the process are closed here as soon as it has them: the end of a pipe is that of the process.
    its_input, our_input = os.pipe()
    our_output, its_output = os.pipe()
    request = Request(module, [*map(str, arguments)], str(ROOT), dict(os.environ))
    try:
        asking = await asyncio.to_thread(_ask, request, (its_input, its_output, errors), is_developed)
    finally:
        os.close(its_input)
        os.close(its_output)
    answers, connection = await asyncio.open_unix_connection(sock=asking)
    stdout = asyncio.StreamReader()
    output, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stdout), os.fdopen(our_output, "rb", buffering=0)
    )
    pid = int(await answers.readline())

    async def exit_code() -> int:
        return int(await answers.readline())

    process = PythonProcess(pid, asyncio.create_task(exit_code()), stdout, our_input)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        output.close()
        connection.close()
        await connection.wait_closed()
        os.close(our_input)


def _ask(request: Request, streams: tuple[int, int, int], is_developed: bool) -> socket.socket:
    path = _find_server(is_developed=is_developed)
    asking = _connect(path)
    text = json.dumps(request).encode()
    socket.send_fds(asking, [len(text).to_bytes(LENGTH_BYTES, "big")], streams)
    asking.sendall(text)
    return asking


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def _find_server(*, is_developed: bool) -> Path:
    """Return the socket of the server of this run, which the first that asks starts."""
    path = Path(tempfile.gettempdir()) / f"trellis-forks-{_RUN}{'-dev' if is_developed else ''}"
    if path in _held:
        return path
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path not in _held:
            if not path.exists():
                _start(path, is_developed=is_developed)
            _held[path] = _connect(path)
            atexit.register(_held[path].close)
        path.with_suffix(".lock").unlink(missing_ok=True)
    return path


def _start(path: Path, *, is_developed: bool) -> None:
    mode = ("-X", "dev") if is_developed else ()
    server = (sys.executable, *mode, "-m", "tests.support.fork_server", str(path))
    # By a shell that ends at once: other workers may need the server for longer than this one.
    with subprocess.Popen(
        ["/bin/sh", "-c", '"$@" &', "sh", *server],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as shell:
        if shell.stdout is None or shell.stdout.readline() != b"ready\n":
            raise RuntimeError("the server of forks did not start")
