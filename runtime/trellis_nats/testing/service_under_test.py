"""A service in a test: its handlers run through a real server, under a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final, Generic, TypeVar

from trellis_nats.client import Client
from trellis_nats.connect import open_runtime
from trellis_nats.errors import ConfigurationError
from trellis_nats.errors.configuration import require_duration, require_timedelta
from trellis_nats.events import EventPublisher, EventSource
from trellis_nats.health.listener import listen_for_health
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.queue import JobQueue
from trellis_nats.options import Maintenance, Options
from trellis_nats.runtime import Runtime
from trellis_nats.service import Service
from trellis_nats.testing.captured import CapturedEvents
from trellis_nats.testing.clock import TestClock
from trellis_nats.testing.drain import Drain
from trellis_nats.testing.job_history import JobHistory
from trellis_nats.testing.server import NatsServer
from trellis_nats.testing.worked_jobs import CreatedJob, DrainReport, created_jobs

__all__ = ["TEST_OPTIONS", "ServiceUnderTest", "service_under_test"]

ServiceT = TypeVar("ServiceT", bound=Service)
ClientT = TypeVar("ClientT", bound=Client)
EventT = TypeVar("EventT")

TEST_OPTIONS: Final = Options(jitter=0, maintenance=Maintenance(rescue_every=None, purge_every=None))
"""The default options of `service_under_test`: waits without jitter, and no maintenance in the background."""

_ATTEMPTS_MAX: Final = 1000
_TIMEOUT: Final = timedelta(seconds=20)


class ServiceUnderTest(Generic[ServiceT]):
    """A connected service, and what a test does with it. `service_under_test` creates one."""

    def __init__(
        self,
        service: ServiceT,
        runtime: Runtime,
        clock: TestClock,
        url: str,
        options: Options,
        stack: AsyncExitStack,
    ) -> None:
        self.service: Final = service
        """The service. Register the handlers on it."""
        self.clock: Final = clock
        """The clock by which its jobs wait and expire."""
        self.url: Final = url
        """The URL of the server."""
        self._runtime = runtime
        self._options = options
        self._stack = stack
        jobs = runtime.binding.jobs
        self._history = JobHistory(
            runtime.connection, runtime.contract.name if jobs is None else jobs.namespace
        )
        self._drain = Drain(runtime, clock, self._history)
        self._has_started = False
        stack.push_async_callback(self._history.close)

    def __repr__(self) -> str:
        return f"<ServiceUnderTest {self._runtime.contract.id}>"

    async def start(self) -> None:
        """Serve, and work in the background, as `service.start()` does. `drain` and `client` start it if need be.

        Raises:
            ConfigurationError: an event group lacks a handler.
        """
        if not self._has_started:
            self._has_started = True
            await self.service.start()

    @asynccontextmanager
    async def client(self, client_class: type[ClientT]) -> AsyncGenerator[ClientT]:
        """Start the service, and connect a client for the length of an `async with` block.

        Args:
            client_class: the generated client, for example `OrdersClient`.
        """
        await self.start()
        options = replace(
            self._options, absent_uses=frozenset(), health_listen=None
        )  # those are of the service
        async with client_class.connect(self.url, options=options) as client:
            yield client

    async def drain(
        self,
        *,
        advance: timedelta | None = None,
        attempts_max: int = _ATTEMPTS_MAX,
        timeout: timedelta = _TIMEOUT,
    ) -> DrainReport:
        """Start the service, work everything, and return what happened since the last drain.

        Jobs, the jobs that these create, retries, delayed jobs and the events of groups are worked until nothing is left.
        When everything that is left waits, the clock moves to the first that is due. Jobs of queues without a handler stay
        `pending`.

        Args:
            advance: move the clock by this much, and work what becomes due meanwhile; `timedelta(0)` works what is due now. To
                0.1 s. None: as far as needed.
            attempts_max: how many attempts of jobs may be made.
            timeout: how long it may take in real time.

        Raises:
            NotDrained: a handler does not return in time, what is left is in paused queues, or jobs create jobs without end.
            ConfigurationError: an event group lacks a handler, or an argument is not valid.
        """
        require_duration("advance", advance, may_be_zero=True)
        if attempts_max < 1:
            raise ConfigurationError(f"attempts_max must be at least 1, got {attempts_max}")
        require_timedelta("timeout", timeout)
        await self.start()
        return await self._drain.run(advance=advance, attempts_max=attempts_max, timeout=timeout)

    async def created(self, queue: JobQueue[PayloadT, ResultT, UpdateT]) -> list[CreatedJob[PayloadT]]:
        """Return the jobs of a queue that were created until now, oldest first, whatever became of them.

        Raises:
            InvalidPayload: a stored payload does not match its schema.
            ConfigurationError: `queue` is not a job queue.
        """
        if not isinstance(queue, JobQueue):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
            raise ConfigurationError(f"expected a job queue, got {queue!r}")
        return created_jobs(queue, await self._history.read(), self._history.writers)

    async def capture(self, event: EventPublisher[EventT] | EventSource[EventT]) -> CapturedEvents[EventT]:
        """Capture the events of one kind that are published from now on, until the end of the test.

        Args:
            event: of the service, for example `service.events.orders.shipped`, or of a client.

        Raises:
            ConfigurationError: `event` is not an event.
        """
        if not isinstance(event, (EventPublisher, EventSource)):  # pyright: ignore[reportUnnecessaryIsInstance] - likewise
            raise ConfigurationError(
                f"expected an event of a service or a client, got {event!r}; jobs are returned by `created`"
            )
        captured = CapturedEvents[EventT](self._runtime.connection, event.spec)
        self._stack.push_async_callback(captured.close)
        await self._runtime.connection.flush()
        return captured


@asynccontextmanager
async def service_under_test(
    service_class: type[ServiceT],
    url: str | None = None,
    *,
    clock: TestClock | None = None,
    options: Options = TEST_OPTIONS,
) -> AsyncGenerator[ServiceUnderTest[ServiceT]]:
    """Connect a service for the length of an `async with` block, to a server of its own.

        async with service_under_test(OrdersService) as orders:
            register_jobs(orders.service, FakeGateway())
            await orders.service.jobs.charge_payment.create(payload)
            report = await orders.drain()

    At the end of the block running handlers are cancelled.

    Args:
        service_class: the generated class.
        url: an empty server, for example `nats_server.url`. None: one is started for the block.
        clock: a clock that other services of the test share. None: a new one.
        options: the options of `connect`.

    Raises:
        ConfigurationError: `nats-server` was not found: install `trellis-nats[testing]`.
    """
    async with AsyncExitStack() as stack:
        if url is None:
            url = (await stack.enter_async_context(NatsServer())).url
        clock = clock or TestClock()
        runtime = Runtime(service_class.contract, options, clock=clock)
        service = service_class(runtime)
        await stack.enter_async_context(listen_for_health(runtime.health, options.health_listen))
        await stack.enter_async_context(open_runtime(runtime, url))
        stack.push_async_callback(runtime.stop, timedelta(0))
        yield ServiceUnderTest(service, runtime, clock, url, options, stack)
