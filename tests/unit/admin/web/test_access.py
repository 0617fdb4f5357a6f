"""Who may look at the console, and who may change something there."""

from ipaddress import ip_network

import pytest
from starlette.requests import HTTPConnection
from trellis_admin.web import Identity, LocalAccess, ProxyAccess, Role, TokenAccess
from trellis_admin.web.access import TOKEN_COOKIE

OPERATOR_TOKEN = "operator-token-1234"  # noqa: S105 - made for the test
VIEWER_TOKEN = "viewer-token-1234"  # noqa: S105 - made for the test
TOKENS = TokenAccess({Role.OPERATOR: OPERATOR_TOKEN, Role.VIEWER: VIEWER_TOKEN}, secret=b"s" * 32)
PROXY = ProxyAccess(
    "X-Forwarded-User", (ip_network("10.0.0.0/8"),), operators=("anna",), viewers=("anna", "ben")
)


def connection(host: str = "10.0.0.7", *headers: tuple[str, str]) -> HTTPConnection:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    return HTTPConnection({"type": "http", "headers": raw, "client": (host, 1234)})


def test_on_this_machine_all_are_the_person_who_started_it() -> None:
    identity = Identity("anna", Role.OPERATOR)

    assert LocalAccess(identity).identify(connection()) == identity


@pytest.mark.parametrize(
    ("value", "role"),
    [
        (f"Bearer {OPERATOR_TOKEN}", Role.OPERATOR),
        (f"bearer {VIEWER_TOKEN}", Role.VIEWER),
        ("Bearer wrong", None),
        (f"Basic {OPERATOR_TOKEN}", None),
        ("", None),
        ("Bearer é", None),
    ],
)
def test_a_token_makes_the_role(value: str, role: Role | None) -> None:
    found = TOKENS.identify(connection("10.0.0.7", ("Authorization", value.encode().decode("latin-1"))))

    assert (found.role if found is not None else None) == role


def test_the_cookie_of_a_token_does_not_hold_it() -> None:
    cookie = TOKENS.accept(f" {VIEWER_TOKEN}\n")

    assert cookie is not None
    assert VIEWER_TOKEN not in cookie
    found = TOKENS.identify(connection("10.0.0.7", ("Cookie", f"{TOKEN_COOKIE}={cookie}")))
    assert found is not None
    assert found.role is Role.VIEWER
    assert TOKENS.accept("wrong") is None
    assert TOKENS.identify(connection("10.0.0.7", ("Cookie", f"{TOKEN_COOKIE}={VIEWER_TOKEN}"))) is None


@pytest.mark.parametrize(
    ("host", "headers", "role"),
    [
        ("10.0.0.7", [("X-Forwarded-User", "anna")], Role.OPERATOR),
        ("10.0.0.7", [("X-Forwarded-User", "ben")], Role.VIEWER),
        ("10.0.0.7", [("X-Forwarded-User", "eve")], None),
        ("10.0.0.7", [("X-Forwarded-User", "")], None),
        ("10.0.0.7", [], None),
        ("192.168.0.1", [("X-Forwarded-User", "anna")], None),
        ("not an address", [("X-Forwarded-User", "anna")], None),
        ("10.0.0.7", [("X-Forwarded-User", "ben"), ("X-Forwarded-User", "anna")], None),
    ],
)
def test_a_proxy_is_believed_at_its_addresses_only(
    host: str, headers: list[tuple[str, str]], role: Role | None
) -> None:
    found = PROXY.identify(connection(host, *headers))

    assert (found.role if found is not None else None) == role


def test_without_a_list_of_viewers_every_name_of_the_proxy_may_look() -> None:
    proxy = ProxyAccess("X-User", (ip_network("::1/128"),), operators=())
    found = proxy.identify(connection("::1", ("X-User", "eve")))

    assert found == Identity("eve", Role.VIEWER)
