"""Options of a wrong kind are refused where they are given, and not ignored later."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from trellis_nats import ConfigurationError, Maintenance, Options, Retention
from trellis_nats.testing import TEST_OPTIONS


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "open",
            "false",
            "True or False is expected, got a str",
        ),  # of an environment variable: a text is always true
        ("session_key", "abc", "a SessionKey is expected, got a str"),
        ("callers", Path("callers.json"), "an Authority is expected, got a PosixPath"),
        ("tls", True, "an SSLContext is expected, got a bool"),
        ("inbox_prefix", 5, "a str is expected, got a int"),
        ("health_listen", 8080, "a str is expected, got a int"),
        ("max_bytes", "5", "a whole number is expected, got a str"),
        ("replicas", True, "a whole number is expected, got a bool"),
        ("absent_uses", "billing", "a set is expected, got a str"),
        ("maintenance", None, "a Maintenance is expected, got a NoneType"),
        ("replicas", 0, "must be 1 to 5, got 0"),
        ("replicas", 6, "must be 1 to 5, got 6"),
        ("jitter", "a", "a number is expected, got a str"),
    ],
)
def test_an_option_of_a_wrong_kind_is_refused(name: str, value: object, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^Options\.{name}: {expected}\n"):
        Options(**{name: value})  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize("name", ["heartbeat_every", "lost_after", "lease"])
def test_what_cannot_be_switched_off_takes_no_none(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Maintenance.{name}: a timedelta is expected, got None"):
        Maintenance(**{name: None})  # type: ignore[arg-type]  # likewise


def test_a_retention_is_not_a_duration() -> None:
    with pytest.raises(
        ConfigurationError, match=r"Maintenance\.retention: a Retention is expected, got a timedelta"
    ):
        Maintenance(retention=cast("Retention", timedelta(days=1)))


def test_options_are_as_given() -> None:
    options = Options(
        replicas=5, max_bytes=1, absent_uses=cast("frozenset[str]", {"billing"}), health_listen="0"
    )

    assert (options.replicas, options.max_bytes, TEST_OPTIONS.jitter) == (5, 1, 0)
