"""The base of generated services."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import ClassVar, Self

from trellis_nats.binding import Binding
from trellis_nats.contract import Contract
from trellis_nats.opening import opened
from trellis_nats.options import Options
from trellis_nats.runtime import Runtime

__all__ = ["Service"]


class Service:
    """A service as its own process sees it: it owns its jobs and buckets, and serves its RPCs.

    Connecting fetches no work. Register the handlers, then `run()`.
    """

    contract: ClassVar[Contract]

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, url: str, *, options: Options | None = None, binding: Binding | None = None
    ) -> AsyncGenerator[Self]:
        """Connect for the length of an `async with` block; reconnect for ever within it.

        What the contract needs on the server is made where the account may, and verified. With a `binding` that a
        control plane gave, its names are used, and everything is only verified. Workers that still run at the end
        of the block are stopped first.

        Raises:
            CannotConnect: the server cannot be reached within `options.connect_timeout`, or refuses the credentials.
            ConfigurationError: the package does not fit this runtime, or the URL may not be used this way.
            ProvisioningError: streams, consumers or buckets are missing or differ; all of them are named.
        """
        runtime = Runtime(cls.contract, options or Options(), binding)
        service = cls(runtime)
        async with opened(runtime, url, provisioned=True):
            try:
                yield service
            finally:
                await service.stop()

    async def start(self) -> None:
        """Serve every RPC and work every queue that has a handler. Returns once all are up.

        Raises:
            ConfigurationError: it was started before.
            KeyedQueueUnsupported: a queue with a handler declares `keyConcurrency`.
            ProvisioningError: a consumer is missing.
        """
        await self._runtime.start()

    async def stop(self, *, grace: timedelta | None = None) -> None:
        """Take nothing new at once, let what runs end within the grace, and give the rest back.

        `grace` defaults to `Options.shutdown_grace`. Stopping twice is harmless.
        """
        await self._runtime.stop(self._runtime.options.shutdown_grace if grace is None else grace)

    async def run(self) -> None:
        """Serve and work until SIGTERM or SIGINT, then stop as `stop()` does.

        Raises:
            ConfigurationError: it was started before.
            KeyedQueueUnsupported: a queue with a handler declares `keyConcurrency`.
            ProvisioningError: a consumer is missing.
        """
        loop, asked = asyncio.get_running_loop(), asyncio.Event()
        signals = (signal.SIGTERM, signal.SIGINT)
        for each in signals:
            loop.add_signal_handler(each, asked.set)
        try:
            await self.start()
            await asked.wait()
            await self.stop()
        finally:
            for each in signals:
                loop.remove_signal_handler(each)
