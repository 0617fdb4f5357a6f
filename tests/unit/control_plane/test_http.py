"""The HTTP request to a control plane: TLS, answers in pieces, and what is not HTTP."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import pytest
from trellis_nats import ConfigurationError
from trellis_nats.control_plane.bootstrap import Bootstrap
from trellis_nats.control_plane.http_post import parse_endpoint

from tests.support.control_plane import ControlPlane
from tests.support.listening import listening
from tests.unit.control_plane.test_bootstrap import CONTRACT, KEY, MANIFEST, bootstrap, refusal

TLS: Final = Path(__file__).parents[2] / "support/tls"


@pytest.fixture
async def plane() -> AsyncGenerator[ControlPlane]:
    plane = ControlPlane(provisioned={KEY.public}, digests={CONTRACT.digest})
    async with plane.standing():
        yield plane


async def test_an_answer_that_is_not_http_is_an_error() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"INFO {}\r\n")
        await writer.drain()

    async with listening(serve) as port:
        plane = ControlPlane(url=f"http://127.0.0.1:{port}")
        assert "does not answer with HTTP" in str(await refusal(plane))


async def test_tls_is_checked_with_the_authorities_of_the_system(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    async with plane.standing(tls=context):
        assert plane.url.startswith("https://")
        error = await refusal(plane)
        monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "ca.pem"))
        ready = await bootstrap(plane).until_ready()
    assert error.reason == "tls"
    assert "certificate" in str(error)
    assert ready.jwt == plane.jwt


async def test_https_to_a_port_without_tls_is_an_error() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(64)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with listening(serve) as port:
        assert (await refusal(ControlPlane(url=f"https://127.0.0.1:{port}"))).reason == "tls"


async def test_a_chunked_answer_is_read(plane: ControlPlane) -> None:
    body = json.dumps(plane.ready(KEY.public, CONTRACT.id, CONTRACT.digest)).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:100], body[100:])) + b"0\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        await writer.drain()

    async with listening(serve) as port:
        assert (await bootstrap(ControlPlane(url=f"http://127.0.0.1:{port}")).until_ready()).jwt == plane.jwt


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "URL of the control plane"),
        ("nats://localhost", "must begin with https:// or http://"),
        ("trellis.example.com", "must begin with https:// or http://"),
        ("https://user:secret@host", "must not have a user"),
        ("https://host/?token=secret", "must not have a user, a query"),
        ("https://", "no valid host"),
        ("https://host:port", "no valid host and port"),
        ("https://ho st/", "no valid host"),
    ],
)
def test_a_malformed_url_is_refused_without_its_secrets(url: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text) as refused:
        Bootstrap(url, KEY, CONTRACT, lambda: MANIFEST)
    assert "secret" not in str(refused.value)


def test_a_path_of_the_url_is_kept() -> None:
    assert (
        str(parse_endpoint("https://[::1]:8443/trellis/", "/bootstrap/service"))
        == "https://[::1]:8443/trellis/bootstrap/service"
    )
