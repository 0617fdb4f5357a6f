"""The private parts of nats-py that the link replaces are still there, with the parameters it expects.

When this fails after an upgrade, read the new client before changing the link.
"""

from __future__ import annotations

import inspect

import pytest
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import Parser
from trellis_nats._nats.link.link import Link

REPLACED = (
    "_connect_to_server",
    "_flusher",
    "_ping_interval",
    "_process_info",
    "_process_op_err",
    "_select_next_server",
)
USED = (
    "_flusher_task",
    "_ping_interval_task",
    "_reading_task",
    "_server_info",
    "_server_pool",
    "_status",
    "_transport",
)


@pytest.mark.parametrize("name", REPLACED)
def test_what_the_link_replaces_takes_the_same_parameters(name: str) -> None:
    theirs = inspect.signature(getattr(Client, name))
    ours = inspect.signature(getattr(Link, name))

    assert list(ours.parameters) == list(theirs.parameters)


@pytest.mark.parametrize("name", USED)
def test_what_the_link_uses_exists(name: str) -> None:
    assert name in vars(Client())


def test_the_transport_keeps_its_writer_where_it_was() -> None:
    assert "_io_writer" in inspect.getsource(TcpTransport.__init__)


def test_the_reader_calls_the_parser_as_before() -> None:
    assert "await self._ps.parse(" in inspect.getsource(Client)
    assert list(inspect.signature(Parser.parse).parameters) == ["self", "data"]
