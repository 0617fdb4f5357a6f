"""A pytest plugin with one fixture. pytest loads it where `trellis-nats[testing]` is installed.

It has no async fixtures, so that it works with pytest-asyncio, with anyio, and without either.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trellis_nats.testing.server import NatsServer

__all__ = ["nats_server"]


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    """A new, empty server with JetStream for one test; it starts in milliseconds."""
    with NatsServer() as server:
        yield server
