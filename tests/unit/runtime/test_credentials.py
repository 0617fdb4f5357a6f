"""Credentials that cannot be sent are refused where they are made, and no `repr` or error shows a secret."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from trellis_nats import ConfigurationError, Credentials, Options

FILE = Path("user.creds")
SECRET = "s3cret-value"  # noqa: S105 - none


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Credentials(jwt=SECRET), r"Credentials\.jwt needs the seed"),
        (lambda: Credentials(user="ada"), "user and password together"),
        (lambda: Credentials(password=SECRET), "user and password together"),
        (lambda: Credentials(file=FILE, nkey_seed_file=FILE), "file and nkey_seed_file cannot be sent together"),
        (lambda: Credentials(file=FILE, jwt=SECRET, seed=SECRET), "file and seed cannot"),
        (lambda: Credentials(nkey_seed_file=FILE, seed=SECRET), "nkey_seed_file and seed cannot"),
        (lambda: Credentials(seed=SECRET, user="ada", password=SECRET), "seed and user cannot"),
        (lambda: Credentials(token=SECRET, user="ada", password=SECRET), "user and token cannot"),
        (lambda: Credentials(file=cast("Path", SECRET)), r"Credentials\.file: a Path is expected, got a str"),
        (lambda: Credentials(jwt=cast("str", SECRET.encode()), seed=SECRET), r"jwt: a str is expected, got a bytes"),
        (lambda: Credentials(token=""), r"Credentials\.token is empty"),
        (lambda: Options(credentials=cast("Credentials", SECRET)), "Credentials or a function is expected, got a str"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_without_showing_it(make: Callable[[], object], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text) as refused:
        make()

    assert SECRET not in repr(refused.value)


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(),
        Credentials(jwt=SECRET, seed=SECRET, token=SECRET),
        Credentials(seed=SECRET, token=SECRET),
        Credentials(file=FILE, token=SECRET),
        Credentials(nkey_seed_file=FILE, token=SECRET),
        Credentials(user="ada", password=SECRET),
    ],
)
def test_what_can_be_sent_together_is_accepted_and_not_shown(credentials: Credentials) -> None:
    assert SECRET not in repr(credentials) + repr(Options(credentials=credentials))


def test_the_options_do_not_show_the_arguments_of_a_function() -> None:
    assert SECRET not in repr(Options(credentials=partial(Credentials, token=SECRET)))
