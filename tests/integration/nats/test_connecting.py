"""The first connection: permanent errors fail at once, others are retried, and secrets are never shown."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.errors import CannotConnect, ConfigurationError
from trellis_nats.testing import NatsServer

from tests.support.proxy import Proxy

WITH_PASSWORD = 'authorization { user: ada, password: "s3cret!" }'  # noqa: S105 - of a server that lives for one test
WITH_TOKEN = 'authorization { token: "s3cret!" }'  # noqa: S105 - likewise
BRIEF = ConnectionSettings(connect_timeout=timedelta(milliseconds=300))
PATIENT = ConnectionSettings(connect_timeout=timedelta(seconds=50))


async def test_credentials_of_the_address_are_used_and_not_kept_in_it() -> None:
    async with NatsServer(config=WITH_PASSWORD) as server:
        connection = await Connection.open(f"nats://ada:s3cret%21@127.0.0.1:{server.port}", settings=BRIEF)

        assert connection.address == server.url
        await connection.close()


async def test_a_token_in_the_address_is_used() -> None:
    async with NatsServer(config=WITH_TOKEN) as server:
        connection = await Connection.open(f"nats://s3cret%21@127.0.0.1:{server.port}", settings=BRIEF)

        await connection.close()


@pytest.mark.parametrize("config", [WITH_PASSWORD, WITH_TOKEN])
async def test_wrong_credentials_fail_at_once_and_are_not_shown(
    config: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with NatsServer(config=config) as server:
        with pytest.raises(CannotConnect, match="refused the credentials") as refused:
            async with asyncio.timeout(10):
                await Connection.open(f"nats://ada:wrong-s3cret@127.0.0.1:{server.port}", settings=PATIENT)

        assert f"127.0.0.1:{server.port}" in str(refused.value)
        assert "wrong-s3cret" not in str(refused.value) + caplog.text
        assert "wrong-s3cret" not in repr(refused.value.__cause__)


async def test_a_server_that_is_not_there_is_named_within_the_timeout() -> None:
    with pytest.raises(CannotConnect, match=r"nats://127\.0\.0\.1:1 within 0\.3 s: connection refused"):
        async with asyncio.timeout(5):
            await Connection.open("nats://127.0.0.1:1", settings=BRIEF)


async def test_a_server_that_accepts_and_says_nothing_is_given_up(proxy: Proxy) -> None:
    proxy.blackhole()

    with pytest.raises(CannotConnect, match=r"no answer within|no attempt"):
        await Connection.open(proxy.url, settings=BRIEF)


async def test_a_server_that_starts_a_little_later_is_waited_for(nats_server: NatsServer) -> None:
    url = nats_server.url
    await asyncio.to_thread(nats_server.kill)

    opening = asyncio.create_task(Connection.open(url, settings=ConnectionSettings()))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(nats_server.start)
    connection = await opening

    assert connection.is_connected
    await connection.close()


async def test_the_next_of_several_servers_is_tried(nats_server: NatsServer) -> None:
    connection = await Connection.open(f"nats://127.0.0.1:1,{nats_server.url}", settings=ConnectionSettings())

    assert connection.server_count == 1
    assert connection.server_version >= (2, 10, 0)
    await connection.close()


@pytest.mark.parametrize("url", ["http://a", "nats://", "nats://host:port", "nats://user:pass@:4222"])
async def test_a_malformed_address_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="server address 1") as refused:
        await Connection.open(url, settings=BRIEF)

    assert "pass@" not in str(refused.value)


async def test_a_server_without_tls_is_refused_before_the_password_is_sent(proxy: Proxy) -> None:
    """nats-py would go on in the clear and send it."""
    settings = replace(BRIEF, tls=ssl.create_default_context(), user="ada", password="s3cret!")  # noqa: S106 - likewise

    with pytest.raises(CannotConnect, match="does not offer TLS"):
        await Connection.open(proxy.url, settings=settings)

    assert b"s3cret" not in proxy.sent_to_server
    assert proxy.accepted == 1


async def test_a_tls_address_asks_for_tls(nats_server: NatsServer) -> None:
    with pytest.raises(CannotConnect, match="does not offer TLS"):
        await Connection.open(f"tls://127.0.0.1:{nats_server.port}", settings=BRIEF)


async def test_a_file_without_credentials_is_refused(nats_server: NatsServer, tmp_path: Path) -> None:
    """nats-py loops past its end and blocks the event loop."""
    file = tmp_path / "empty.creds"
    file.write_text("nothing", encoding="utf-8")

    with pytest.raises(CannotConnect, match="not a credentials file"):
        await Connection.open(nats_server.url, settings=replace(BRIEF, credentials=file))
    with pytest.raises(CannotConnect, match="cannot read the credentials"):
        await Connection.open(nats_server.url, settings=replace(BRIEF, credentials=tmp_path / "missing"))


async def test_credentials_that_were_revoked_are_tried_again_until_they_work() -> None:
    server = NatsServer(config=WITH_PASSWORD)
    with server:
        connection = await Connection.open(f"nats://ada:s3cret%21@127.0.0.1:{server.port}", settings=BRIEF)
        changed = NatsServer(config=WITH_PASSWORD.replace("s3cret!", "other"), port=server.port)
        await asyncio.to_thread(server.kill)
        with changed:
            await asyncio.sleep(0.3)
            assert not connection.is_connected
        await asyncio.to_thread(server.start)
        await connection.flush()

        assert connection.is_connected
        await connection.close()
