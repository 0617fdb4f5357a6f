"""A server with one account, whose permissions can be revoked and restored while a worker runs."""

from __future__ import annotations

import os
import signal
from typing import Final, Self

from trellis_nats.testing import NatsServer

__all__ = ["GuardedServer"]

_USERS: Final = """
authorization {{
  users = [
    {{ user: admin, password: admin }}
    {{ user: worker, password: worker, permissions: {{ publish: {{ allow: [">"], deny: [{denied}] }} }} }}
  ]
}}
"""


class GuardedServer:
    """The server. Use it as `with`."""

    def __init__(self) -> None:
        self._server = NatsServer(config=_users())

    @property
    def admin_url(self) -> str:
        """For whom everything is allowed."""
        return self._server.url.replace("nats://", "nats://admin:admin@")

    @property
    def worker_url(self) -> str:
        """For whom everything is allowed but what was denied."""
        return self._server.url.replace("nats://", "nats://worker:worker@")

    def deny(self, *subjects: str) -> None:
        """Revoke the permission to publish to these subjects, and restore every other one. Connections stay."""
        file = self._server.store / "server.conf"
        text = file.read_text(encoding="utf-8")
        head = text[: text.index("authorization")]
        file.write_text(head + _users(*subjects), encoding="utf-8")
        os.kill(self._server.pid, signal.SIGHUP)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()


def _users(*denied: str) -> str:
    return _USERS.format(denied=", ".join(f'"{subject}"' for subject in denied))
