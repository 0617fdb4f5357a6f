"""The runtime of one service or client: its contract, its connection, its names and its surfaces."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import ClassVar, Literal

from trellis_nats._nats.connection import Connection
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.plural import plural
from trellis_nats._support.uninterrupted import run_to_end
from trellis_nats.auth import Admission, CallersFile, Signer
from trellis_nats.auth.session_key import key_token
from trellis_nats.binding import Binding, merge_bindings
from trellis_nats.blocking import Blocking
from trellis_nats.clock import Clock
from trellis_nats.contract import Contract, check_compatible
from trellis_nats.errors import ConfigurationError
from trellis_nats.grants import Grant
from trellis_nats.health.service_health import Health, Phase
from trellis_nats.ids import new_id, require_token
from trellis_nats.metrics.registry import MetricsRegistry
from trellis_nats.options import Options
from trellis_nats.provision.requirements import Requirement
from trellis_nats.surface import Surface

__all__ = ["Callers", "Participant", "Runtime", "runtime_of"]

_log = logging.getLogger(__name__)

Callers = Literal["open", "keys", "control-plane"]
"""How a service checks who calls: not at all; by a file of keys; by a control plane."""


class Runtime:
    """The state that the surfaces of one service or client share. They register before it connects."""

    def __init__(
        self,
        contract: Contract,
        options: Options,
        binding: Binding | None = None,
        *,
        is_client: bool = False,
        clock: Clock | None = None,
        health: Health | None = None,
        session_key: str | None = None,
        callers: Callers | None = None,
    ) -> None:
        """Prepare.

        Args:
            contract: of the service.
            options: how it connects and behaves.
            binding: the names that a control plane chose.
            is_client: whether it belongs to a client.
            clock: by which jobs wait and expire.
            health: what reports; a new one where none is given.
            session_key: the public key of a program whose permissions are asked for. The options have that of this one.
            callers: how calls are checked in a program whose permissions are asked for.
        """
        check_compatible(contract)
        self.contract = contract
        self.options = options
        self.is_client = is_client
        """Whether it belongs to a client, which provisions nothing and has an inbox of its own."""
        self.clock = clock or Clock()
        """The clock by which jobs and retries wait and expire."""
        self.signer = None if options.session_key is None else Signer(options.session_key)
        """Signs the calls of this program. None: they are not signed."""
        self.admission = None if options.callers is None else Admission(options.callers)
        """Checks the calls to this service. None: open mode."""
        self.session_key = session_key if options.session_key is None else options.session_key.public
        """The public key of the program. None: it signs nothing."""
        self.callers: Callers = callers or _callers_of(options, binding)
        """How the calls to this service are checked."""
        self.instance_id = new_id()
        """Distinguishes this process from the others that run the same service."""
        self.may_look_up = True
        """Whether the account may look up streams, as far as provisioning has found out."""
        self.health = health or Health(is_client=is_client)
        if isinstance(options.callers, CallersFile):
            self.health.check("callers", options.callers.check, critical=False)
        self.metrics = MetricsRegistry()
        self._surfaces: list[Surface] = []
        self._optional_uses: set[str] = set()
        self._given_binding = binding
        self._binding: Binding | None = None
        self._connection: Connection | None = None
        self._grace: GracePeriod | None = None
        self._has_started = False
        self._changing = asyncio.Lock()
        self._permission_check: Callable[[], Awaitable[frozenset[Grant]]] | None = None
        self._denied = frozenset[Grant]()
        self._job_results: dict[str, Callable[[str], Awaitable[object]]] = {}

    @property
    def connection(self) -> Connection:
        """The connection to NATS.

        Raises:
            ConfigurationError: the runtime is not connected yet.
        """
        if self._connection is None:
            raise ConfigurationError(
                f"{self.contract.id} is not connected: use it inside `async with … .connect(url)`; in a test, `service_under_test` connects it"
            )
        return self._connection

    @property
    def binding(self) -> Binding:
        """The names that the service uses on the server: those of the given binding, or else the local ones.

        Raises:
            ConfigurationError: a name in the contract is not valid in a subject.
        """
        if self._binding is None:
            self._binding = self._given_binding or self._local_binding()
        return self._binding

    @property
    def has_given_binding(self) -> bool:
        """Whether a control plane chose the names. Then only it creates the resources."""
        return self._given_binding is not None

    @property
    def own_token(self) -> str:
        """What stands for this service in the names of what only it uses: transfers, and the bucket of its operations.

        Its name; with a control plane, which grants nothing else, the beginning of its session key.
        """
        if self.has_given_binding and self.session_key is not None:
            return key_token(self.session_key)
        return self.contract.name

    @property
    def callers_inboxes(self) -> str:
        """The subjects on which the callers of this service receive answers, as a pattern."""
        return f"_INBOX_{self.contract.name}.client.>" if self.callers == "open" else "_INBOX.*.>"

    @property
    def may_create(self) -> bool:
        """Whether to create what is missing on the server: the options say so, and no control plane does."""
        return self.may_create_own and not self.has_given_binding

    @property
    def may_create_own(self) -> bool:
        """Whether to create what no control plane creates: the bucket of the operations."""
        return self.options.provision in {"create", "update"}

    @property
    def surfaces(self) -> tuple[Surface, ...]:
        """The surfaces, in the order in which they registered."""
        return tuple(self._surfaces)

    def register(self, surface: Surface) -> None:
        """Add a surface. Everything that the runtime does for surfaces, it does for this one too.

        Raises:
            ConfigurationError: the runtime is connected, so that the surface would not be provisioned.
        """
        if self._connection is not None:
            raise ConfigurationError(f"{self.contract.id} is connected: create its surfaces before that")
        self._surfaces.append(surface)
        self._binding = None

    def has_use(self, alias: str) -> bool:
        """Return whether an optional use is there: the options do not leave it out, and a given binding grants it."""
        self._optional_uses.add(alias)
        granted = self._given_binding.uses if self._given_binding else None
        return alias not in self.options.absent_uses and (granted is None or alias in granted)

    def check_uses(self) -> None:
        """Check that every use that the options leave out is an optional one of the contract.

        Raises:
            ConfigurationError: it is not; every such name is named.
        """
        if unknown := sorted(self.options.absent_uses - self._optional_uses):
            known = ", ".join(sorted(self._optional_uses)) or "none"
            raise ConfigurationError(
                f"Options.absent_uses has {', '.join(unknown)}, but the optional uses of {self.contract.id} are: {known}"
            )

    def offer_job_results(self, queue: str, wait_result: Callable[[str], Awaitable[object]]) -> None:
        """Let other surfaces wait for the jobs of a queue: `wait_result` takes the id of one."""
        self._job_results[queue] = wait_result

    def wait_job_result(self, queue: str, job_id: str) -> Awaitable[object]:
        """Return what waits for the result of a job; it raises as the `result` of the job's ref.

        Raises:
            ConfigurationError: the service has no such queue.
        """
        wait_result = self._job_results.get(queue)
        if wait_result is None:
            raise ConfigurationError(f'{self.contract.id} has no job queue "{queue}"')
        return wait_result(job_id)

    def requirements(self) -> list[Requirement]:
        """Return what the surfaces need on the server. A client needs nothing of its own."""
        if self.is_client:
            return []
        return [need for surface in self._surfaces for need in surface.requirements(self.binding)]

    def attach(self, connection: Connection) -> None:
        """Set the connection."""
        self._connection = connection
        self.health.attach(connection)

    def before_start(self, check: Callable[[], Awaitable[frozenset[Grant]]]) -> None:
        """Set the check that `check_permissions` runs. It returns the optional permissions that the account lacks."""
        self._permission_check = check

    async def check_permissions(self) -> None:
        """Check that the account has the permissions that the handlers need.

        Raises:
            PermissionsMissing: it does not; every missing permission is named.
            TransportError: NATS did not answer.
        """
        self.connection.require_own_loop()
        if self._permission_check is not None:
            self._denied = await self._permission_check()
            count = len({str(grant) for grant in self._denied})
            self.health.limit(
                f"the account lacks {plural(count, 'optional permission')}; the log names them"
                if count
                else None
            )

    def lacks(self, grant: Grant) -> bool:
        """Return whether the last check found that the account lacks an optional permission."""
        return grant in self._denied

    async def start(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Start every surface, after `prepare`; when one cannot start, stop those that did.

        Raises:
            ConfigurationError: they have started already.
            PermissionsMissing: the account lacks permissions that the handlers need; nothing was started.
        """
        self.connection.require_own_loop()
        async with self._changing:
            if self._has_started:
                raise ConfigurationError(f"{self.contract.id} has started already")
            await prepare()
            await self.check_permissions()
            self._has_started = True
            self.health.enter(Phase.STARTING)
            if any(surface.takes_calls and surface.is_served() for surface in self._surfaces):
                self._log_how_calls_are_checked()
            try:
                for surface in self._surfaces:
                    await surface.start()
            except BaseException:
                await run_to_end(self._stop(GracePeriod(timedelta(0))))
                raise
            self.health.enter(Phase.WORKING)

    async def stop(self, grace: timedelta) -> None:
        """Stop every surface, all at the same time; then release what could not be stopped. A start ends before that.

        A cancellation ends the grace period, and is raised when everything has stopped.
        """
        self.connection.require_own_loop()
        period = GracePeriod(grace)

        def end() -> None:
            period.end()
            self.end_grace()  # that of another stop, which comes first

        await run_to_end(self._stop_in_turn(period), on_cancel=end)

    async def open(self) -> None:
        """Begin what surfaces do as long as there is a connection."""
        self.connection.require_own_loop()
        for surface in self._surfaces:
            await surface.open()

    async def close(self) -> None:
        """End what surfaces do as long as there is a connection, before it closes."""
        self.connection.require_own_loop()
        await run_to_end(self._close())

    def end_grace(self) -> None:
        """End the grace period of a stop that is under way: cancel what still runs."""
        if self._grace is not None:
            self._grace.end()

    async def _stop_in_turn(self, grace: GracePeriod) -> None:
        async with self._changing:
            await self._stop(grace)

    async def _stop(self, grace: GracePeriod) -> None:
        self.health.enter(Phase.STOPPING)
        self._grace = grace
        await asyncio.gather(*(surface.stop(grace) for surface in self._surfaces))
        await asyncio.gather(*(surface.release() for surface in self._surfaces))
        self._has_started = False
        self.health.enter(Phase.STOPPED)

    async def _close(self) -> None:
        await asyncio.gather(*(surface.close() for surface in self._surfaces))
        self.health.enter(Phase.STOPPED)

    def _log_how_calls_are_checked(self) -> None:
        options, level, event = self.options, logging.INFO, LogEvent.CALLERS_CHECKED
        match options.callers:
            case None:
                text, event = "open mode: calls are not checked", LogEvent.CALLERS_OPEN
                if options.session_key is not None and not options.open:
                    text += (
                        ", although this service signs its own; give Options(callers=…), or set Options(open=True) if "
                        "that is intended"
                    )
                    level = logging.WARNING
            case CallersFile() as callers:
                text = f"calls are checked: {callers}"
            case authority:
                by = "the control plane" if self.callers == "control-plane" else type(authority).__name__
                text = f"calls are checked by {by}"
        _log.log(level, "%s", text, extra=log_fields(event))

    def _local_binding(self) -> Binding:
        service = require_token("the service's name", self.contract.name)
        return merge_bindings(surface.local_binding(service) for surface in self._surfaces)


class Participant:
    """A generated service or client. Its constructor creates its surfaces, which register with the runtime."""

    contract: ClassVar[Contract]
    is_client: ClassVar[bool]
    """Whether it uses the service from outside."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @property
    def health(self) -> Health:
        """Whether it is healthy and ready; add your own checks to it."""
        return self._runtime.health

    @property
    def blocking(self) -> Blocking:
        """Calls from other threads and from programs without an event loop.

        Raises:
            ConfigurationError: it is not connected.
        """
        connection = self._runtime.connection
        return Blocking(connection.loop, connection.is_forked)


def runtime_of(participant: Participant) -> Runtime:
    """Return the runtime of a service or a client: for tools."""
    return participant._runtime  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - a service shows its users no runtime


def _callers_of(options: Options, binding: Binding | None) -> Callers:
    if options.callers is None:
        return "open"
    is_file = isinstance(options.callers, CallersFile)
    return "keys" if binding is None or is_file else "control-plane"
