"""The pytest plugin, in a project that has no conftest.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SYNC = """
def test_a_server(nats_server):
    assert nats_server.is_running
"""
ASYNCIO = """
import pytest
from trellis_nats.testing import NatsServer

@pytest.mark.asyncio
async def test_a_server(nats_server: NatsServer) -> None:
    assert nats_server.is_running
"""


@pytest.mark.parametrize(
    ("code", "options"),
    [
        pytest.param(SYNC, ["-p", "no:asyncio"], id="without pytest-asyncio"),
        pytest.param(SYNC, ["-p", "trellis_nats.testing.plugin"], id="loaded twice"),
        pytest.param(ASYNCIO, [], id="with pytest-asyncio"),
    ],
)
def test_the_fixture_is_there_without_a_conftest(code: str, options: list[str], tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(tmp_path)]

    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert "1 passed" in run.stdout, run.stdout + run.stderr
