"""The base of generated services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import ClassVar, Self

from trellis_nats._connect_block import open_in_async_with, open_in_with
from trellis_nats._support.gc_tuning import tune_gc
from trellis_nats._support.signals import StopSignals, end_process_on_signal
from trellis_nats.auth import SessionKey
from trellis_nats.binding import Binding
from trellis_nats.blocking import enter_in_thread
from trellis_nats.connect import open_runtime, require_one_login
from trellis_nats.control_plane import join
from trellis_nats.errors import ConfigurationError
from trellis_nats.errors.configuration import require_duration
from trellis_nats.events.heartbeat import HealthHeartbeat
from trellis_nats.health.listener import listen_for_health
from trellis_nats.health.service_health import Health
from trellis_nats.jobs.maintenance.removed_queues import warn_of_removed_queues
from trellis_nats.metrics.families import REMOVED_QUEUE_JOBS
from trellis_nats.metrics.snapshot import MetricsSnapshot
from trellis_nats.options import Options
from trellis_nats.runtime import Participant, Runtime

__all__ = ["Service"]


class Service(Participant):
    """A service, in its own process: it owns its jobs and buckets, and serves its RPCs.

    Connecting does not start any work. Register the handlers, then `run()`.
    """

    is_client: ClassVar[bool] = False

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        if runtime.contract.has_heartbeats:
            HealthHeartbeat(runtime)
        self._signals = StopSignals(runtime.end_grace)

    @classmethod
    @open_in_async_with("service")
    async def connect(
        cls, url: str, *, options: Options | None = None, binding: Binding | None = None
    ) -> AsyncGenerator[Self]:
        """Connect for the length of an `async with` block, and reconnect whenever the connection is lost.

        The streams, consumers and buckets that the contract needs are created, where the account may, and verified.
        With a `binding` from a control plane its names are used, and everything is only verified. At the end of the
        block, workers that still run are stopped before the connection closes. SIGTERM or SIGINT while connecting
        ends the process with code 0, unless the program handles the signal itself.

        Raises:
            CannotConnect: the server cannot be reached within `options.connect_timeout`, or refuses the credentials.
            ConfigurationError: the package does not fit this runtime, or the options do not allow this URL.
            PermissionsMissing: the account may not receive its answers.
            ProvisioningError: streams, consumers or buckets are missing or differ; every problem is named.
        """
        options = options or Options()
        require_one_login(url, options)
        runtime = Runtime(cls.contract, options, binding)
        service = cls(runtime)
        async with AsyncExitStack() as stack:
            with end_process_on_signal():
                await stack.enter_async_context(
                    listen_for_health(runtime.health, runtime.options.health_listen)
                )
                await stack.enter_async_context(service._connected(url))
            yield service

    @classmethod
    @open_in_async_with("service")
    async def join(
        cls, trellis_url: str, *, key: SessionKey, options: Options | None = None
    ) -> AsyncGenerator[Self]:
        """Join a deployment that has a control plane, for the length of an `async with` block.

            async with OrdersService.join("https://trellis.example.com", key=key) as service:

        The control plane names the servers, the credentials and the names of everything that the service uses; it creates
        that too. It is asked who calls, once for each call, and every call of the service is signed with `key`. As long as
        it does not let the service in, or cannot be reached, this waits, and the log and the health check `control-plane`
        say what for. When the connection is lost and cannot be restored, the service joins again. Else as `connect`.

        Raises:
            BootstrapFailed: the control plane refuses the service, for example because the key is not provisioned.
            CannotConnect: no server that it names can be reached within `options.connect_timeout`.
            ConfigurationError: the URL is malformed, the package does not fit this runtime, or the options have a key,
                callers or credentials of their own.
            PermissionsMissing: the account may not receive its answers.
            ProvisioningError: streams, consumers or buckets are missing or differ; every problem is named.
        """
        given = options or Options()
        health = Health()
        async with AsyncExitStack() as stack:
            with end_process_on_signal():
                await stack.enter_async_context(listen_for_health(health, given.health_listen))
                membership = await stack.enter_async_context(
                    join(cls, trellis_url, key=key, options=given, health=health)
                )
                service = cls(membership.runtime)
                await stack.enter_async_context(service._connected(membership.url))
                membership.follow()
            yield service

    @classmethod
    @open_in_with("service")
    def join_blocking(
        cls, trellis_url: str, *, key: SessionKey, options: Options | None = None
    ) -> AbstractContextManager[Self]:
        """Join a deployment for the length of a `with` block, for programs without an event loop; else as `connect_blocking`."""
        joining = cls.join(trellis_url, key=key, options=options)
        return enter_in_thread(joining, name=f"{cls.contract.id} connection")

    @classmethod
    @open_in_with("service")
    def connect_blocking(
        cls, url: str, *, options: Options | None = None, binding: Binding | None = None
    ) -> AbstractContextManager[Self]:
        """Connect for the length of a `with` block, for programs without an event loop: Django, Flask, a script.

        The event loop runs in a thread of its own. Any thread may call `service.blocking.run(coroutine)`:

            with OrdersService.connect_blocking(url) as service:
                ref = service.blocking.run(service.jobs.charge_payment.create(payload))

        Arguments and errors are those of `connect`.
        """
        connecting = cls.connect(url, options=options, binding=binding)
        return enter_in_thread(connecting, name=f"{cls.contract.id} connection")

    @asynccontextmanager
    async def _connected(self, url: str) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            # Signals that `run` caught stay caught until the connection is closed: a late one must not interrupt that.
            stack.callback(lambda: self._signals.end())  # noqa: PLW0108 - `run` replaces the object
            await stack.enter_async_context(open_runtime(self._runtime, url))
            stack.push_async_callback(self.stop)
            yield

    def metrics(self) -> MetricsSnapshot:
        """Return what this process has counted for the service: attempts, events and calls by outcome, waits and run times.

        `trellis_nats.metrics.FAMILIES` lists the names, and `trellis_nats.metrics.prometheus` exports them. Any thread may
        call it; nothing is sent.

            print(service.metrics().value("trellis_job_attempts_total", queue="charge-payment", outcome="completed"))
        """
        return self._runtime.metrics.snapshot()

    async def start(self) -> None:
        """Serve the RPCs and feeds, work the queues and event groups that have handlers. Return once all have started.

        Raises:
            ConfigurationError: the service has started already.
            PermissionsMissing: the account lacks permissions that the handlers need; every one is named.
            ProvisioningError: a consumer is missing.
        """
        await self._runtime.start(self._look_up_removed_queues)

    async def stop(self, *, grace: timedelta | None = None) -> None:
        """Take no new work, let running handlers finish within the grace period, then cancel them and release their jobs.

        `grace` defaults to `Options.shutdown_grace`. Stopping twice is harmless. A cancellation, as by `asyncio.timeout`, ends the
        grace period, and is raised when everything has stopped.

        Raises:
            ConfigurationError: `grace` is not a `timedelta`, or is negative.
        """
        require_duration("grace", grace, may_be_zero=True)
        await self._runtime.stop(self._runtime.options.shutdown_grace if grace is None else grace)

    async def run(self, *, freeze_gc: bool = False, gc_threshold: int | None = None) -> None:
        """Serve and work until SIGTERM or SIGINT, then stop as `stop()` does; a second signal ends the grace period at once.

        Signals are handled by the event loop: a handler that blocks it delays them. Of several services that run in one event
        loop, all stop.

        Args:
            freeze_gc: collect garbage once before the start, and leave out what exists by then (the program and its imports) of all
                later collections. For the rest of the process, as with `gc.freeze()`.
            gc_threshold: how many more objects are created than freed before Python's garbage collector runs (its default is 700,
                2,000 from Python 3.13). For the rest of the process, as with `gc.set_threshold()`. None: it stays as it is.

        Raises:
            ConfigurationError: the service has started already, or `gc_threshold` is not positive.
            PermissionsMissing: the account lacks permissions that the handlers need; every one is named.
            ProvisioningError: a consumer is missing.
        """
        self._runtime.connection.require_own_loop()
        if gc_threshold is not None and gc_threshold <= 0:
            raise ConfigurationError(f"gc_threshold must be positive, got {gc_threshold}")
        tune_gc(freeze=freeze_gc, threshold=gc_threshold)
        signals = self._signals = StopSignals(self._runtime.end_grace)
        signals.install()
        try:
            if await self._start_unless(signals.requested):
                await signals.requested.wait()
                await self.stop()
        finally:
            if not signals.requested.is_set():
                signals.remove()

    async def _look_up_removed_queues(self) -> None:
        runtime = self._runtime
        if not runtime.may_look_up:
            return
        removed = await warn_of_removed_queues(
            runtime.connection, runtime.contract.name, runtime.binding.jobs
        )
        for queue in removed:
            runtime.metrics.number(REMOVED_QUEUE_JOBS, queue.name).value = queue.waiting

    async def _start_unless(self, stop_requested: asyncio.Event) -> bool:
        """Start, and return True. When a stop is requested first, stop what has started and return False."""
        starting = asyncio.create_task(self.start(), name="start")
        stopping = asyncio.create_task(stop_requested.wait())
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
