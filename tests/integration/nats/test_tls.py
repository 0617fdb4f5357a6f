"""With TLS required, no secret is sent before the handshake, even to a proxy in the middle."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from trellis_nats import Client, ConfigurationError, Contract, Credentials, Options
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.errors import CannotConnect
from trellis_nats.testing import NatsServer

from tests.support.depot import Depot
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.stripping import CERTIFICATES, TLS, stripping

SECRET = "s3cret-of-ada"  # noqa: S105 - of a server that lives for one test
LOGIN = f'authorization {{ user: ada, password: "{SECRET}" }}'
HANDSHAKE = b"\x16\x03"
"""How a TLS client begins."""
TRUSTING = ssl.create_default_context(cafile=str(CERTIFICATES / "ca.pem"))
BRIEF = ConnectionSettings(
    name="a-client", connect_timeout=timedelta(seconds=2), user="ada", password=SECRET, tls=TRUSTING
)


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    file = tmp_path / "ada.creds"
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{SECRET}\n------END NATS USER JWT------\n"
        f"-----BEGIN USER NKEY SEED-----\n{SECRET}\n------END USER NKEY SEED------\n"
    )
    return file


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(BRIEF, id="password"),
        pytest.param(replace(BRIEF, user=None, password=None, token=SECRET), id="token"),
        pytest.param(replace(BRIEF, tls=None), id="password and a tls:// address"),
        pytest.param(replace(BRIEF, tls=None, user=None, password=None, token=SECRET), id="token and tls://"),
    ],
)
@pytest.mark.parametrize(
    "greeting", [{}, {"tls_available": True}, {"tls_required": False, "tls_verify": True}]
)
async def test_to_a_server_that_does_not_insist_on_tls_nothing_is_said(
    settings: ConnectionSettings, greeting: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    scheme = "tls" if settings.tls is None else "nats"
    async with stripping(greeting) as (middle, port):
        with pytest.raises(CannotConnect, match="does not offer TLS") as refused:
            await Connection.open(f"{scheme}://127.0.0.1:{port}", settings=settings)

        assert middle.clients == 1
        assert bytes(middle.received) == b""
    assert SECRET not in str(refused.value) + repr(refused.value.__cause__) + caplog.text + repr(settings)


async def test_of_a_credentials_file_nothing_is_said_either(credentials: Path) -> None:
    settings = replace(BRIEF, user=None, password=None, credentials=credentials)
    async with stripping() as (middle, port):
        with pytest.raises((CannotConnect, ConfigurationError)) as refused:
            await Connection.open(f"nats://127.0.0.1:{port}", settings=settings)

        assert bytes(middle.received) == b""
    assert SECRET not in str(refused.value) + repr(refused.value.__cause__)


async def test_a_server_that_promises_tls_and_does_not_speak_it_gets_a_handshake_and_nothing_else() -> None:
    async with stripping({"tls_required": True}) as (middle, port):
        with pytest.raises(CannotConnect):
            await Connection.open(
                f"nats://127.0.0.1:{port}", settings=replace(BRIEF, connect_timeout=timedelta(seconds=1))
            )

        assert middle.received.startswith(HANDSHAKE)
        assert b"CONNECT" not in middle.received
        assert SECRET.encode() not in middle.received


async def test_all_that_crosses_the_wire_is_encrypted() -> None:
    async with NatsServer(config=TLS + "\n" + LOGIN) as server, Proxy(server.port) as proxy:
        connection = await Connection.open(proxy.url, settings=BRIEF)
        await connection.publish("a.subject", b"a body")
        await connection.flush()

        assert proxy.sent_to_server.startswith(HANDSHAKE)
        for word in (b"CONNECT", b"ada", SECRET.encode(), b"a-client", b"a.subject", b"a body"):
            assert word not in proxy.sent_to_server
        await connection.close()


async def test_a_service_connects_over_tls() -> None:
    async with NatsServer(config=TLS + "\n" + LOGIN) as server:
        options = Options(tls=TRUSTING, credentials=Credentials(user="ada", password=SECRET))
        async with Depot.connect(f"tls://localhost:{server.port}", options=options) as depot:
            assert (await depot.health.report()).checks[1].ok


async def test_after_a_lost_connection_nothing_is_said_to_a_server_without_tls(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = NatsServer(config=TLS + "\n" + LOGIN)
    async with server:
        connection = await Connection.open(server.url, settings=BRIEF)
        await asyncio.to_thread(server.terminate)

        async with stripping(port=server.port) as (middle, _):
            await eventually(lambda: middle.clients >= 3)
            assert not connection.is_connected
            assert bytes(middle.received) == b""
        assert "does not offer TLS" in caplog.text
        assert SECRET not in caplog.text

        await asyncio.to_thread(server.start)
        await connection.flush()
        await connection.close()


async def test_a_certificate_that_is_not_trusted_is_refused() -> None:
    async with NatsServer(config=TLS + "\n" + LOGIN) as server, Proxy(server.port) as proxy:
        with pytest.raises(CannotConnect, match="TLS failed: CERTIFICATE_VERIFY_FAILED"):
            await Connection.open(proxy.url, settings=replace(BRIEF, tls=ssl.create_default_context()))
        with pytest.raises(CannotConnect, match="TLS failed: CERTIFICATE_VERIFY_FAILED"):
            await Connection.open(proxy.url.replace("nats://", "tls://"), settings=replace(BRIEF, tls=None))

        assert SECRET.encode() not in proxy.sent_to_server


class Shown(Client):
    """A client of nothing."""

    contract = Contract(id="shown@v1", digest="s" * 43, generator="0", runtime_api=1)


@pytest.mark.parametrize(
    "url",
    [
        "nats://ada:{secret}@127.0.0.1:{port}",
        "nats://{secret}@127.0.0.1:{port}",
        "tls://ada:{secret}@127.0.0.1:{port}",
        "nats://ada:{secret}@example.invalid:{port}",
        "nats://ada:{secret}@127.0.0.1:{port},http://{secret}@127.0.0.1",
        "nats://ada:{secret}@127.0.0.1:port",
        "nats://ada:a/{secret}@127.0.0.1:{port}",
        "nats://{secret}/a@127.0.0.1:{port}",
        "nats://{secret}?a@127.0.0.1:{port}",
        "nats://{secret}#a@127.0.0.1:{port}",
        "{secret}/@127.0.0.1:{port}",
    ],
)
async def test_what_an_address_holds_is_never_shown(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with NatsServer(config='authorization { user: ada, password: "another" }') as server:
        with pytest.raises((CannotConnect, ConfigurationError)) as refused:
            async with Shown.connect(url.format(secret=SECRET, port=server.port)):
                pass

        shown: BaseException | None = refused.value
        while shown is not None:
            assert SECRET not in str(shown) + repr(shown)
            shown = shown.__cause__
        assert SECRET not in caplog.text + server.log
