"""`trellis web` as a process: it says where it is, answers, and ends in order."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Final

import httpx
import pytest
from trellis_nats.testing import NatsServer

from tests.support.trellis_command import run_trellis_here

ROOT: Final = Path(__file__).parents[3]
COMMAND: Final = "from trellis_admin.cli import main; main()"


async def test_it_serves_until_it_is_stopped(nats_server: NatsServer, tmp_path: Path) -> None:
    paths = [ROOT / "admin", ROOT / "runtime"]
    arguments = (
        "web",
        "--server",
        nats_server.url,
        "--port",
        "0",
        "--db",
        str(tmp_path / "p"),
        "--label",
        "here",
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, *arguments),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "TRELLIS_ACTOR": "anna"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        said = (await process.stdout.readline()).decode()
        address = re.search(r"http://127\.0\.0\.1:\d+/", said)
        assert address is not None, said
        async with httpx.AsyncClient() as browser:
            page = await browser.get(address[0])
            stranger = await browser.get(address[0], headers={"Host": "attacker.example"})
        process.send_signal(signal.SIGTERM)
        _, error = await process.communicate()

    assert page.status_code == 200
    assert "No job has been created yet" in page.text
    assert "<b>anna</b>" in page.text
    assert stranger.status_code == 403
    assert process.returncode == 0, error.decode()
    assert "Traceback" not in error.decode()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--host", "0.0.0.0"], "lets others reach the console"),  # noqa: S104 - it is refused
        (["--web-token", "short"], "at least 16 characters"),
        (["--web-token", "x" * 16, "--user-header", "X-User"], "exclude each other"),
        (["--user-header", "X-User", "--proxy", "10.0.0.0/99"], "--proxy"),
        (["--web-token", "x" * 16, "--read-only"], "lets no person in"),
        (["--contract", "no_such_package"], "no_such_package"),
    ],
)
async def test_wrong_options_are_explained(arguments: list[str], text: str) -> None:
    ended = await run_trellis_here("web", "--port", "0", *arguments)

    assert ended.code == 2
    assert text in ended.error
    assert "Traceback" not in ended.error


async def test_a_port_in_use_is_a_sentence(nats_server: NatsServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await run_trellis_here(
            "web", "--server", nats_server.url, "--port", str(port), "--db", tmp_path / "p"
        )

    assert ended.code == 2
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in ended.error


async def test_without_a_server_it_ends(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        ended = await run_trellis_here(
            "web", "--server", f"nats://127.0.0.1:{port}", "--port", "0", "--db", tmp_path / "p"
        )

    assert ended.code == 3
    assert "Traceback" not in ended.error
