"""The base of generated clients."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager
from typing import ClassVar, Self

from trellis_nats._connect_block import open_in_async_with, open_in_with
from trellis_nats.blocking import enter_in_thread
from trellis_nats.connect import open_runtime, require_one_login
from trellis_nats.errors import ConfigurationError
from trellis_nats.events.heartbeat import HealthHeartbeat
from trellis_nats.options import Options
from trellis_nats.runtime import Participant, Runtime

__all__ = ["Client"]


class Client(Participant):
    """A service, as other programs use it: its RPCs, feeds and events. Jobs and buckets are private to the service.

    The client of an app, a device or an agent has its state.
    """

    is_client: ClassVar[bool] = True

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        if runtime.contract.has_heartbeats and runtime.contract.kind != "service":
            HealthHeartbeat(runtime)

    @classmethod
    @open_in_async_with("client")
    async def connect(cls, url: str, *, options: Options | None = None) -> AsyncGenerator[Self]:
        """Connect for the length of an `async with` block, and reconnect whenever the connection is lost.

        Raises:
            CannotConnect: the server cannot be reached within `options.connect_timeout`, or refuses the credentials.
            ConfigurationError: the package does not fit this runtime, the options do not allow this URL, or have a
                `health_listen`, which is for services.
            PermissionsMissing: the account may not receive its answers.
        """
        options = options or Options()
        if options.health_listen is not None:
            raise ConfigurationError(
                "Options.health_listen: a client answers no probes; leave it out, and serve `client.health.report()` yourself"
            )
        require_one_login(url, options)
        runtime = Runtime(cls.contract, options, is_client=True)
        client = cls(runtime)
        async with open_runtime(runtime, url):
            yield client

    @classmethod
    @open_in_with("client")
    def connect_blocking(cls, url: str, *, options: Options | None = None) -> AbstractContextManager[Self]:
        """Connect for the length of a `with` block, for programs without an event loop: Django, Flask, a script.

        The event loop runs in a thread of its own. Any thread may call `client.blocking.run(coroutine)`:

            with OrdersClient.connect_blocking(url) as client:
                order = client.blocking.run(client.rpc.orders.get(request))

        Arguments and errors are those of `connect`.
        """
        return enter_in_thread(cls.connect(url, options=options), name=f"{cls.contract.id} connection")
