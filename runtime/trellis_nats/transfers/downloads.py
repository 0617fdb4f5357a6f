"""The downloads of one procedure in this process: a bounded number, each with a grant of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from typing_extensions import override

from trellis_nats._calls.checks import session_key_of
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats.binding import Binding
from trellis_nats.clock import now
from trellis_nats.errors import UnexpectedError
from trellis_nats.grants import Grant, Role, StartCheck
from trellis_nats.ids import new_id
from trellis_nats.rpc.context import RpcContext
from trellis_nats.runtime import Runtime
from trellis_nats.stores.object import StoredObject
from trellis_nats.surface import Surface
from trellis_nats.transfers.download_session import DownloadSession
from trellis_nats.transfers.grant import LIFE, TransferGrant, TransferInfo, new_grant
from trellis_nats.transfers.grants import serve_download_grants

__all__ = ["Downloads"]

_GRANTED_MAX: Final = 1000
_SENDING_MAX: Final = 100
"""Each reads up to 2 MiB ahead."""
_UNWIND: Final = timedelta(seconds=5)
"""How long a cancelled download may take to end."""


class Downloads(Surface):
    """Grants downloads, and sends the objects to the callers that ask for them."""

    def __init__(self, runtime: Runtime, name: str, *, at_start: Callable[[], StartCheck]) -> None:
        """Prepare.

        Args:
            runtime: of the service.
            name: the procedure.
            at_start: what the start does about the permissions.
        """
        self._runtime = runtime
        self._name = name
        self._at_start = at_start
        self._sessions: set[DownloadSession] = set()
        self._remove_callback: Callable[[], None] | None = None

    @property
    def open_count(self) -> int:
        """How many downloads are granted or being sent."""
        return len(self._sessions)

    def grant_download(self, stored: StoredObject, context: RpcContext) -> TransferGrant:
        """Return the grant for one download. It can be used for a minute, once.

        Raises:
            UnexpectedError: too many grants are unused.
        """
        if len(self._sessions) >= _GRANTED_MAX:
            raise UnexpectedError(f"{_GRANTED_MAX} downloads are granted in this process")
        session_key = session_key_of(context.caller, context.headers)
        grant = new_grant(
            "receive",
            self._runtime,
            session_key=session_key,
            transfer_id=new_id(),
            expires_at=now() + LIFE,
            info=TransferInfo.of(stored.info),
        )
        session = DownloadSession(
            self._runtime.connection,
            stored,
            rpc=self._name,
            subject=grant.subject,
            session_key=session_key,
            is_verified=context.caller is not None,
            may_start=lambda: len(self._sending) < _SENDING_MAX,
            on_end=self._sessions.discard,
        )
        self._sessions.add(session)
        return grant

    @override
    def grants(self, binding: Binding, role: Role) -> Iterable[Grant]:
        """Return what a worker needs."""
        if role != "worker":
            return ()
        return serve_download_grants(self._runtime, self._name, at_start=self._at_start())

    @override
    async def start(self) -> None:
        """Begin to notice lost connections."""
        self._remove_callback = self._runtime.connection.on_reconnect(self._on_reconnect)

    @override
    async def stop(self, grace: GracePeriod) -> None:
        """Let running downloads end within the grace period, then interrupt them. Unused grants end at once."""
        if self._remove_callback is not None:
            self._remove_callback()
        for session in list(self._sessions):
            if session.task is None:
                session.interrupt("the service stopped")
        await grace.wait(self._sending)
        tasks = self._sending
        for session in list(self._sessions):
            session.interrupt("the service stopped")
        await grace.settle(tasks, _UNWIND)

    @property
    def _sending(self) -> list[asyncio.Task[None]]:
        return [session.task for session in self._sessions if session.task is not None]

    def _on_reconnect(self) -> None:
        for session in list(self._sessions):
            if session.task is not None:
                session.interrupt("the connection was lost")
