"""`trellis up`: servers for development."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats.runtime import runtime_of
from trellis_nats.testing import NatsServer

from tests.house.sources import ROOT
from tests.support.shop import Parcel, Shop
from tests.support.trellis_command import run_trellis

PROGRAM = "from trellis_admin.cli import main; main()"
SIGNALLED_WHILE_IT_WAITS = f"""
import os, signal, sys

calls = 0

def trace(frame, event, argument):
    global calls
    by_the_command = frame.f_back and frame.f_back.f_code.co_filename.endswith("commands/up.py")
    if calls or (by_the_command and frame.f_code.co_name in ("wait", "find_ended")):
        calls += 1
    if calls == 3:
        sys.settrace(None)
        os.kill(os.getpid(), signal.SIGTERM)

sys.settrace(trace)
{PROGRAM}
"""


@contextmanager
def running(
    *arguments: str | Path, program: str = PROGRAM
) -> Generator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run `trellis up` until the end of the block, and provide what it says."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-X",
            "faulthandler",
            "-c",
            program,
            "up",
            "--port",
            "0",
            "--json",
            *map(str, arguments),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT / "admin",
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)
    finally:
        process.send_signal(signal.SIGTERM)
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Wait for the end of a process that was told to stop; fail with its stack if it does not."""
    try:
        process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        pytest.fail(f"it has not ended: {process.communicate()[1]}")


def answers(url: str) -> bool:
    host, _, port = url.removeprefix("nats://").partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


async def test_a_server_runs_until_it_is_stopped() -> None:
    with running() as (process, said):
        async with Shop.connect(said["url"]) as shop:
            assert (await shop.jobs.pack.create(Parcel(number=1))).id

    assert process.returncode == 0
    assert not answers(said["url"])
    assert said["v"] == 1
    assert said["folder"] is None


def test_a_signal_at_any_moment_of_the_wait_stops_it() -> None:
    with running(program=SIGNALLED_WHILE_IT_WAITS) as (process, said):
        process.wait(timeout=10)

    assert process.returncode == 0
    assert not answers(said["url"])


async def test_what_is_in_a_folder_is_there_again(tmp_path: Path) -> None:
    with running("--folder", tmp_path) as (_, first):
        async with Shop.connect(first["url"]) as shop:
            ref = await shop.jobs.pack.create(Parcel(number=1))
    with running("--folder", tmp_path) as (_, second):
        async with Shop.connect(second["url"]) as shop:
            assert (await shop.jobs.pack.ref(ref.id).get()).payload == Parcel(number=1)
        again = await run_trellis("up", "--port", "0", "--folder", tmp_path)

    assert again.code == 2
    assert "in use by another `trellis up`" in again.error


async def test_a_cluster_keeps_three_replicas() -> None:
    with running("--cluster", "3") as (_, said):
        assert len(said["urls"]) == 3
        async with Shop.connect(said["url"]) as shop:
            connection = runtime_of(shop).connection
            info = await get_stream_info(connection, "JOBS")

    match info:
        case {"config": {"num_replicas": replicas}}:
            assert replicas == 3
        case _:
            pytest.fail(f"no replicas: {info}")


async def test_a_port_in_use_is_refused_with_a_way_out(nats_server: NatsServer) -> None:
    ended = await run_trellis("up", "--port", str(nats_server.port))

    assert ended.code == 2
    assert f"port {nats_server.port} is in use" in ended.error
    assert "--port 0" in ended.error


def test_a_server_that_ends_is_said_with_its_log() -> None:
    with running() as (process, _):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            pytest.skip("needs /proc")
        servers = [pid for pid in map(int, children.read_text().split()) if "nats-server" in command_of(pid)]
        assert len(servers) == 1
        os.kill(servers[0], signal.SIGKILL)
        process.wait(timeout=30)

        assert process.returncode == 3
        assert process.stderr is not None
        assert "nats-server has ended; its log ends with" in process.stderr.read()


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
