"""The first connection: permanent errors fail at once, others are retried, and secrets are never shown."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.login import Login
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.errors import CannotConnect, ConfigurationError
from trellis_nats.options import Credentials, CredentialsFunction
from trellis_nats.testing import NatsServer

from tests.support.nats_keys import NatsKey
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


async def test_a_remedy_is_one_for_the_failure() -> None:
    """Another server on this machine helps neither with credentials nor with another machine."""
    async with NatsServer(config=WITH_PASSWORD) as server:
        with pytest.raises(CannotConnect, match="refused the credentials") as refused:
            await Connection.open(server.url, settings=BRIEF)
    assert "nats-server -js" not in "".join(refused.value.__notes__)
    settings = ConnectionSettings(connect_timeout=timedelta(milliseconds=50))
    with pytest.raises(CannotConnect, match=r"Is the server running\?\n"):
        await Connection.open("nats://0.0.0.0:1", settings=settings)  # not a loopback address


async def test_a_server_that_refuses_is_waited_for_and_after_a_second_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = ConnectionSettings(connect_timeout=timedelta(seconds=4))

    with pytest.raises(
        CannotConnect,
        match=r"connection refused\. Is the server running\? `trellis up` or `nats-server -js` starts",
    ) as failed:
        await Connection.open("nats://127.0.0.1:1", settings=settings)

    (logged,) = [record.getMessage() for record in caplog.records]
    refusal = "cannot connect to nats://127.0.0.1:1: connection refused"
    assert logged == f"{refusal}; trying until 4 s have passed (Options.connect_timeout)"
    assert failed.value.__notes__[0].startswith("Remedy: Check the address")


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
    with pytest.raises(CannotConnect, match=r"cannot read the credentials /.*/missing: No such file"):
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


async def test_a_function_is_asked_for_the_credentials_of_each_dial() -> None:
    tokens = iter(["first", "second"])
    settings = replace(
        BRIEF, login=Login(lambda: Credentials(token=next(tokens, "third")), asyncio.get_running_loop())
    )
    async with NatsServer(config="authorization { token: first }") as server:
        connection = await Connection.open(server.url, settings=settings)
        await asyncio.to_thread(server.kill)
        async with NatsServer(config="authorization { token: third }", port=server.port):
            await connection.flush()  # the second was refused

            assert connection.is_connected
            await connection.close()


async def test_a_function_that_fails_is_asked_again_within_the_time_of_the_first_connection(
    nats_server: NatsServer,
) -> None:
    secret, calls = "s3cret!", 0

    def sealed_at_first() -> Credentials:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError(secret)
        return Credentials()

    def never() -> Credentials:
        raise KeyError(secret)

    async def hang() -> Credentials:
        await asyncio.Event().wait()
        raise AssertionError

    loop = asyncio.get_running_loop()
    connection = await Connection.open(
        nats_server.url, settings=replace(PATIENT, login=Login(sealed_at_first, loop))
    )
    await connection.close()
    assert calls == 2
    with pytest.raises(
        CannotConnect, match=r"within 0\.3 s: .*Options\.credentials raised KeyError"
    ) as failed:
        await Connection.open(nats_server.url, settings=replace(BRIEF, login=Login(never, loop)))
    assert secret not in str(failed.value) + repr(failed.value.__cause__)
    # The tenth of the time that is left for the report has to be long enough for a busy machine.
    slow = replace(BRIEF, connect_timeout=timedelta(seconds=2), login=Login(hang, loop))
    with pytest.raises(CannotConnect, match=r"within 2 s: .* did not return within 1\.8 s"):
        await Connection.open(nats_server.url, settings=slow)
    with pytest.raises(ConfigurationError, match="must return Credentials, got a NoneType"):
        await Connection.open(
            nats_server.url,
            settings=replace(PATIENT, login=Login(cast("CredentialsFunction", lambda: None), loop)),
        )


async def test_an_nkey_seed_file_is_read_again_at_each_dial(tmp_path: Path) -> None:
    file = tmp_path / "seed"
    old, new = NatsKey.new("user"), NatsKey.new("user")
    file.write_text(f"{old.seed}\n", encoding="utf-8")
    async with NatsServer(config=_knowing(old)) as server:
        connection = await Connection.open(server.url, settings=replace(BRIEF, nkey_seed=file))
        await asyncio.to_thread(server.kill)
        async with NatsServer(config=_knowing(new), port=server.port):
            file.write_text(f"{new.seed}\n", encoding="utf-8")
            await connection.flush()

            assert connection.is_connected
            await connection.close()
            login = Login(lambda: Credentials(seed=new.seed), asyncio.get_running_loop())
            await (await Connection.open(server.url, settings=replace(BRIEF, login=login))).close()
            for text, problem in (("", "is empty"), (new.seed[:-9], "not an nkey seed")):
                file.write_text(text, encoding="utf-8")
                with pytest.raises(CannotConnect, match=problem):
                    await Connection.open(server.url, settings=replace(BRIEF, nkey_seed=file))


def _knowing(key: NatsKey) -> str:
    return f"authorization {{ users: [ {{ nkey: {key.public} }} ] }}"
