"""What every surface of a service or client is given: its contract, its connection, its names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol

from trellis_nats._nats.connection import Connection
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats.binding import Binding, local_binding
from trellis_nats.contract import Contract, check_compatible
from trellis_nats.errors import ConfigurationError
from trellis_nats.health.service_health import Health, Phase
from trellis_nats.ids import new_id
from trellis_nats.options import Options
from trellis_nats.specs import BucketSpec, EventSpec, JobSpec, RpcSpec

__all__ = ["Runtime", "Workload"]


class Workload(Protocol):
    """Something that works between the start and the stop of a service: a queue's worker, a served RPC."""

    async def start(self) -> None:
        """Begin to work. Only what has a handler does."""
        ...

    async def stop(self, grace: GracePeriod) -> None:
        """Take nothing new at once, and end what runs within the grace."""
        ...


class Runtime:
    """What a generated package stands on. Surfaces declare themselves to it before it connects."""

    def __init__(self, contract: Contract, options: Options, binding: Binding | None = None) -> None:
        check_compatible(contract)
        self.contract = contract
        self.options = options
        self.instance_id = new_id()
        """Tells this process from the others that run the same service."""
        self.health = Health()
        self.queues: list[JobSpec] = []
        self.buckets: list[BucketSpec] = []
        self.events: list[EventSpec] = []
        self.heard: list[EventSpec] = []
        """The events that may be listened to."""
        self.served: list[RpcSpec] = []
        self.called: list[RpcSpec] = []
        self.handled: list[JobSpec | RpcSpec] = []
        """What has a handler."""
        self.workloads: list[Workload] = []
        self._given_binding = binding
        self._binding: Binding | None = None
        self._connection: Connection | None = None
        self._grace: GracePeriod | None = None
        self._rights_check: Callable[[], Awaitable[None]] | None = None

    @property
    def connection(self) -> Connection:
        """The connection to NATS.

        Raises:
            ConfigurationError: there is none yet.
        """
        if self._connection is None:
            raise ConfigurationError(
                f"{self.contract.id} is not connected: use it inside `async with … .connect(url)`"
            )
        return self._connection

    @property
    def binding(self) -> Binding:
        """The names of what the service uses on the server: the given ones, else those of the local resolver."""
        if self._binding is None:
            self._binding = self._given_binding or local_binding(
                self.contract, jobs=self.queues, buckets=self.buckets
            )
        return self._binding

    @property
    def has_given_binding(self) -> bool:
        """Whether a control plane chose the names. Then it also makes the resources, and nobody else does."""
        return self._given_binding is not None

    def attach(self, connection: Connection) -> None:
        """Give the runtime its connection."""
        self._connection = connection
        self.health.attach(connection)

    def before_start(self, check: Callable[[], Awaitable[None]]) -> None:
        """Set what looks, before anything starts, whether the account may do what the handlers need."""
        self._rights_check = check

    async def check_rights(self) -> None:
        """See whether the account may do what the handlers need.

        Raises:
            PermissionsMissing: it may not; every missing permission is named.
            TransportError: NATS did not answer.
        """
        if self._rights_check is not None:
            await self._rights_check()

    async def start(self) -> None:
        """Start every workload; when one cannot start, stop those that did.

        Raises:
            PermissionsMissing: the account may not do what the handlers need; nothing was started.
        """
        self.health.enter(Phase.STARTING)
        try:
            await self.check_rights()
            for workload in self.workloads:
                await workload.start()
        except BaseException:
            await self.stop(timedelta(0))
            raise
        self.health.enter(Phase.WORKING)

    async def stop(self, grace: timedelta) -> None:
        """Stop every workload, all at the same time."""
        self.health.enter(Phase.STOPPING)
        self._grace = GracePeriod(grace)
        await asyncio.gather(*(workload.stop(self._grace) for workload in self.workloads))
        self.health.enter(Phase.STOPPED)

    def hurry(self) -> None:
        """End the grace of a stop that is under way, and wait no longer than needed for what is left."""
        if self._grace is not None:
            self._grace.end()
