"""A program's place in a deployment: how it logs in at each connection, and joins again when that stops working."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from time import monotonic
from typing import Final

from trellis_nats.auth import Admission, SessionKey, Signer
from trellis_nats.contract import Contract
from trellis_nats.control_plane.answers import Ready
from trellis_nats.control_plane.bootstrap import Bootstrap
from trellis_nats.control_plane.manifest import read_manifest
from trellis_nats.control_plane.validation import ControlPlaneAuthority
from trellis_nats.errors import BootstrapFailed, ConfigurationError
from trellis_nats.health.service_health import Health
from trellis_nats.options import Credentials, Options
from trellis_nats.runtime import Participant, Runtime

__all__ = ["Membership", "join"]

_DIALS: Final = 3
"""Connections that fail in a row before the control plane is asked again: the first is what a restart of a server causes."""
_AGAIN: Final = 5.0
_AGAIN_MAX: Final = 60.0
"""Seconds between two rounds of asking while no connection succeeds; each round doubles it."""


class Membership:
    """What a control plane has given to this program."""

    def __init__(
        self, bootstrap: Bootstrap, ready: Ready, *, contract: Contract, options: Options, health: Health
    ) -> None:
        self._bootstrap = bootstrap
        self._ready = ready
        self._binding = ready.binding
        signer = Signer(bootstrap.key, bootstrap.clock.now)
        callers = ControlPlaneAuthority(
            signer, lambda: self.runtime.connection, timeout=options.request_timeout
        )
        own = replace(options, session_key=bootstrap.key, callers=callers, credentials=self.credentials)
        self.runtime: Final = Runtime(contract, own, ready.binding, health=health)
        """What the program is made of."""
        self.runtime.signer, self.runtime.admission = signer, Admission(callers, checks_time=False)
        self._loop = asyncio.get_running_loop()
        self._follows = False
        self._dials = 0
        """Since the connection was lost."""
        self._pause = _AGAIN
        self._not_before = 0.0
        self._joining: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The addresses of the servers."""
        return ",".join(self._ready.servers)

    def credentials(self) -> Credentials:
        """Return the credentials of one dial, with a token of this moment. Any thread may call it, and it never waits.

        Not `async`: the second connection of a service logs in while a handler blocks the event loop.
        """
        with suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self._count_dial)
        ready = self._ready  # the event loop may replace it meanwhile
        return Credentials(jwt=ready.jwt, seed=ready.seed, token=self._bootstrap.connect_token())

    def _count_dial(self) -> None:
        if not self._follows or self.runtime.connection.is_connected:
            return
        self._dials += 1
        if self._dials > _DIALS and self._joining is None and monotonic() >= self._not_before:
            self._joining = asyncio.create_task(self._join_again(), name="join again")

    def follow(self) -> None:
        """Join again, from now on, when the connection is lost and cannot be restored. `close` ends it."""
        self._follows = True
        self.runtime.connection.on_reconnect(self._on_reconnect)

    async def close(self) -> None:
        """End a request to join again that is under way."""
        self._follows = False
        if self._joining is not None:
            self._joining.cancel()
            await asyncio.wait([self._joining])

    def _on_reconnect(self) -> None:
        self._dials, self._pause, self._not_before = 0, _AGAIN, 0.0
        if self._joining is not None:
            self._joining.cancel()
        self._bootstrap.progress.restore()

    async def _join_again(self) -> None:
        """Ask for servers and credentials that work. Dials go on meanwhile: the old ones may work again before that."""
        try:
            self._take(await self._bootstrap.until_ready())
        except (BootstrapFailed, ConfigurationError) as error:
            self._bootstrap.progress.refuse(error)
        finally:
            self._joining = None
        self._dials, self._not_before = 0, monotonic() + self._pause
        self._pause = min(self._pause * 2, _AGAIN_MAX)

    def _take(self, ready: Ready) -> None:
        if ready.servers != self._ready.servers:
            self.runtime.connection.use_servers(",".join(ready.servers))
        if ready.binding != self._binding:
            self._bootstrap.progress.remark(
                "the control plane has given this service other resources, which it uses after a restart"
            )
        self._ready = ready


@asynccontextmanager
async def join(
    participant: type[Participant], url: str, *, key: SessionKey, options: Options, health: Health
) -> AsyncGenerator[Membership]:
    """Join a deployment for the length of an `async with` block. Wait until the control plane lets the program in.

    Raises:
        BootstrapFailed: it refuses the program, or it is not a control plane that answers.
        ConfigurationError: the URL is malformed, the package lacks its manifest, or the options have what the control plane
            decides.
    """
    for name in ("session_key", "callers", "credentials"):
        if getattr(options, name) is not None:
            raise ConfigurationError(
                f"Options.{name} cannot be given to `join`: the control plane decides it"
            )
    bootstrap = Bootstrap(url, key, participant.contract, lambda: read_manifest(participant))
    health.follow(bootstrap.progress.check)
    ready = await bootstrap.until_ready()
    membership = Membership(bootstrap, ready, contract=participant.contract, options=options, health=health)
    try:
        yield membership
    finally:
        await membership.close()
