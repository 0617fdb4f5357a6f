"""Addresses are parsed, secrets are hidden, and every server is tried in turn."""

from __future__ import annotations

import pytest
from trellis_nats import ConfigurationError
from trellis_nats._nats.link.server_info import ServerInfo, parse_info
from trellis_nats._nats.link.servers import ServerPool, parse_servers
from trellis_nats._nats.link.settings import ConnectionSettings

PLAIN = ConnectionSettings()


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("localhost", ("nats://localhost:4222",)),
        ("nats://a", ("nats://a:4222",)),
        ("tls://a:1", ("tls://a:1",)),
        ("nats://a:1, nats://b:2,nats://a:1", ("nats://a:1", "nats://b:2")),
        ("nats://[::1]:7", ("nats://[::1]:7",)),
        ("nats://user:secret@a:1", ("nats://a:1",)),
    ],
)
def test_addresses_are_completed_and_stripped(url: str, servers: tuple[str, ...]) -> None:
    pool, settings = parse_servers(url, PLAIN)

    assert pool.addresses() == servers
    assert settings.servers == servers


def test_credentials_of_the_address_go_to_the_settings() -> None:
    _, named = parse_servers("nats://ada:p%40ss@a", PLAIN)
    _, token = parse_servers("nats://t0ken@a", PLAIN)

    assert (named.user, named.password, named.token) == ("ada", "p@ss", None)
    assert (token.user, token.password, token.token) == (None, None, "t0ken")


def test_addresses_with_different_users_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="more than one user, password or token") as refused:
        parse_servers("nats://ada:s3cret@a, nats://bob:s3cret@b", PLAIN)

    assert "s3cret" not in str(refused.value)
    _, one = parse_servers("nats://ada:a@a, nats://ada:a@b, nats://c", PLAIN)
    assert one.user == "ada"


def test_credentials_of_the_settings_win() -> None:
    given = ConnectionSettings(user="bob", password="b", token="t")  # noqa: S106 - none

    _, named = parse_servers("nats://ada:a@a", given)
    _, token = parse_servers("nats://other@a", given)

    assert named.user == "bob"
    assert token.token == "t"  # noqa: S105 - none


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://nats.example.org:99999", ': port 99999 of "nats.example.org" is above 65535'),
        ("localhost:99999", ': port 99999 of "localhost" is above 65535'),
        ("nats://ada:hunter2@nats.example.org:99999", ': port 99999 of "nats.example.org" is above 65535'),
        ("nats://ada:hunter2", ""),
        ("nats://ada:123456", ""),
        ("nats://ada:hunter2@nats.example.org:x", ""),
    ],
)
def test_a_wrong_port_is_shown_with_its_host_and_nothing_else(url: str, shown: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_servers(url, PLAIN)

    assert str(refused.value) == f"server address 1 has no valid host and port{shown}"


def test_servers_take_turns_and_discovered_ones_join() -> None:
    pool = ServerPool(("nats://a:1", "nats://b:1"))

    first = [pool.next() for _ in range(3)]
    pool.set_discovered(["b:1", "c:1"])

    assert first == ["nats://a:1", "nats://b:1", "nats://a:1"]
    assert pool.addresses() == ("nats://a:1", "nats://b:1", "nats://c:1")
    assert {pool.next() for _ in range(3)} == set(pool.addresses())

    pool.set_discovered([])

    assert pool.addresses() == ("nats://a:1", "nats://b:1")


def test_discovered_servers_keep_tls() -> None:
    pool = ServerPool(("tls://a:1",))

    pool.set_discovered(["b:1"])

    assert pool.addresses() == ("tls://a:1", "tls://b:1")


def test_a_discovered_server_must_use_tls_if_a_configured_one_must() -> None:
    pool = ServerPool(("nats://a:1", "tls://b:1"))

    pool.set_discovered(["c:1"])

    assert pool.addresses()[-1] == "tls://c:1"


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, ServerInfo()),
        ({"version": "2.12.0-RC.1"}, ServerInfo(version=(2, 12, 0))),
        ({"version": "none", "max_payload": "big", "connect_urls": "no"}, ServerInfo()),
        (
            {"version": "2.10.26", "max_payload": 7, "connect_urls": ["a:1", "b:1"]},
            ServerInfo((2, 10, 26), 7, ("a:1", "b:1")),
        ),
    ],
)
def test_a_greeting_is_read_leniently(info: dict[str, object], expected: ServerInfo) -> None:
    assert parse_info(info) == expected
