"""A connection as the admin tools have it, and servers on which it may do less."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from trellis_nats import RUNTIME_API, Contract, Credentials, Options, Runtime
from trellis_nats._nats.connection import Connection
from trellis_nats.connect import open_connection

__all__ = ["denying", "operator_connection", "restricted"]

_CONTRACT: Final = Contract(id="trellis-admin@v1", digest="a" * 43, generator="0", runtime_api=RUNTIME_API)
_LOGIN: Final = "pw"


@asynccontextmanager
async def operator_connection(url: str, options: Options | None = None) -> AsyncGenerator[Connection]:
    """Connect as the admin tools do."""
    async with open_connection(Runtime(_CONTRACT, options or Options()), url) as connection:
        yield connection


def denying(users: Mapping[str, Sequence[str]]) -> str:
    """Return a server configuration with an `admin` that may do all, and users that may not publish on some subjects."""
    listed = [{"user": "admin", "password": _LOGIN}] + [
        {"user": user, "password": _LOGIN, "permissions": {"publish": {"deny": list(denied)}}}
        for user, denied in users.items()
    ]
    return f"authorization {{ users: {json.dumps(listed)} }}"


def restricted(user: str) -> Options:
    """Return the options with which a user of `denying` connects."""
    return Options(credentials=Credentials(user=user, password=_LOGIN))
