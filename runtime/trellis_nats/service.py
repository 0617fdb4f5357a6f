"""The base of generated services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import ClassVar, Self

from trellis_nats._support.signals import StopSignals, end_process_on_signal
from trellis_nats.binding import Binding
from trellis_nats.connect import open_runtime
from trellis_nats.health.listener import listen_for_health
from trellis_nats.health.service_health import Health
from trellis_nats.options import Options
from trellis_nats.runtime import Participant, Runtime

__all__ = ["Service"]


class Service(Participant):
    """A service as its own process sees it: it owns its jobs and buckets, and serves its RPCs.

    Connecting fetches no work. Register the handlers, then `run()`.
    """

    is_client: ClassVar[bool] = False

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self._signals = StopSignals(runtime.end_grace)

    @property
    def health(self) -> Health:
        """Whether the service is well and ready; add checks of your own to it."""
        return self._runtime.health

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, url: str, *, options: Options | None = None, binding: Binding | None = None
    ) -> AsyncGenerator[Self]:
        """Connect for the length of an `async with` block; reconnect for ever within it.

        What the contract needs on the server is made where the account may, and verified. With a `binding` that a
        control plane gave, its names are used, and everything is only verified. Workers that still run at the end
        of the block are stopped first. SIGTERM or SIGINT while connecting ends the process with code 0, unless the
        program handles the signal itself.

        Raises:
            CannotConnect: the server cannot be reached within `options.connect_timeout`, or refuses the credentials.
            ConfigurationError: the package does not fit this runtime, or the URL may not be used this way.
            PermissionsMissing: the account may not hear its answers.
            ProvisioningError: streams, consumers or buckets are missing or differ; all of them are named.
        """
        runtime = Runtime(cls.contract, options or Options(), binding)
        service = cls(runtime)
        async with AsyncExitStack() as stack:
            # Signals that `run` caught stay caught until the connection is closed, and a late one does no harm.
            stack.callback(lambda: service._signals.end())  # noqa: PLW0108 - `run` replaces the object
            with end_process_on_signal():
                await stack.enter_async_context(
                    listen_for_health(runtime.health, runtime.options.health_listen)
                )
                await stack.enter_async_context(open_runtime(runtime, url))
            stack.push_async_callback(service.stop)
            yield service

    async def start(self) -> None:
        """Serve every RPC and work every queue that has a handler. Returns once all are up.

        Raises:
            ConfigurationError: it was started before.
            PermissionsMissing: the account may not do what the handlers need; all that is missing is named.
            ProvisioningError: a consumer is missing.
        """
        await self._runtime.start()

    async def stop(self, *, grace: timedelta | None = None) -> None:
        """Take nothing new at once, let what runs end within the grace, and give the rest back.

        `grace` defaults to `Options.shutdown_grace`. Stopping twice is harmless.
        """
        await self._runtime.stop(self._runtime.options.shutdown_grace if grace is None else grace)

    async def run(self) -> None:
        """Serve and work until SIGTERM or SIGINT, then stop as `stop()` does; a second signal ends the grace at once.

        Both are seen when the event loop runs: a handler that blocks it delays them.

        Raises:
            ConfigurationError: it was started before.
            PermissionsMissing: the account may not do what the handlers need; all that is missing is named.
            ProvisioningError: a consumer is missing.
        """
        signals = self._signals = StopSignals(self._runtime.end_grace)
        signals.install()
        try:
            if await self._started_before(signals.asked):
                await signals.asked.wait()
                await self.stop()
        finally:
            if not signals.asked.is_set():
                signals.remove()

    async def _started_before(self, asked: asyncio.Event) -> bool:
        """Start, unless asked to stop before all is up; what had started then is stopped again."""
        starting = asyncio.create_task(self.start(), name="start")
        stopping = asyncio.create_task(asked.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            starting.cancel()
            await asyncio.wait((starting,))
        if starting.cancelled():
            return False
        starting.result()
        return True
