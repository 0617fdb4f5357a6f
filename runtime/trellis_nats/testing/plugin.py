"""A pytest plugin: `pytest_plugins = ["trellis_nats.testing.plugin"]` in conftest.py adds the fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trellis_nats.testing.server import NatsServer

__all__ = ["nats_server"]


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    """A new server with JetStream for one test; it starts in milliseconds."""
    with NatsServer() as server:
        yield server
