"""One remote procedure, as the service that owns it serves it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from trellis_nats._support.grace_period import GracePeriod
from trellis_nats.errors import ConfigurationError, HandlerConflict
from trellis_nats.rpc.context import RpcContext
from trellis_nats.rpc.responder import Responder
from trellis_nats.rpc.server import RpcServer
from trellis_nats.runtime import Runtime
from trellis_nats.specs import RpcSpec

__all__ = ["RpcEndpoint"]

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class RpcEndpoint(Generic[RequestT, ResponseT]):
    """A procedure to be served: give it a handler, then run the service.

    Replicas of a service share the calls. In one process at most 100 handlers of a procedure run at a time, and 1,000
    more calls wait for their turn; what comes beyond that is answered with an `UnexpectedError` at once.
    """

    def __init__(self, runtime: Runtime, spec: RpcSpec) -> None:
        self.spec = spec
        """What the contract says about the procedure."""
        self._runtime = runtime
        self._handler: Callable[[RpcContext, RequestT], Awaitable[ResponseT]] | None = None
        self._is_sealed = False
        self._server: RpcServer | None = None
        runtime.served.append(spec)
        runtime.workloads.append(self)

    def __repr__(self) -> str:
        return f"<RpcEndpoint {self.spec.name}>"

    def handle(
        self, handler: Callable[[RpcContext, RequestT], Awaitable[ResponseT]]
    ) -> Callable[[RpcContext, RequestT], Awaitable[ResponseT]]:
        """Register the handler: `@endpoint.handle` or `endpoint.handle(function)`. Returns it unchanged.

        The request has been checked before the handler runs, and what it returns is checked before it is sent. An
        error that the contract declares reaches the caller as it is; so does a `ValidationError` or `AuthError` that
        the handler makes itself. Of any other exception the caller learns only an id, which is in the log with the
        traceback. The handler is cancelled when its caller stops waiting.

        Raises:
            HandlerConflict: the procedure has a handler, or the service has started.
            ConfigurationError: the handler is not an `async def`.
        """
        if self._handler is not None:
            raise HandlerConflict(f'rpc "{self.spec.name}" already has a handler')
        if self._is_sealed:
            raise HandlerConflict(f'rpc "{self.spec.name}": register its handler before the service starts')
        if not (inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)):
            raise ConfigurationError(
                f'rpc "{self.spec.name}": the handler {handler!r} must be an `async def`'
            )
        self._handler = handler
        self._runtime.handled.append(self.spec)
        return handler

    async def start(self) -> None:
        """Begin to serve, if there is a handler. Calls are taken when this returns.

        Raises:
            ConfigurationError: the procedure is served already.
            PermissionDenied: the account may not subscribe to the procedure's subject.
            RequestTimeout: the server does not confirm the subscription.
        """
        if self._server is not None:
            raise ConfigurationError(f'rpc "{self.spec.name}" is served already')
        self._is_sealed = True
        if self._handler is None:
            return
        self._server = RpcServer(
            self._runtime.connection,
            self.spec,
            Responder(self.spec, self._runtime.contract, self._handler),
            reply_timeout=self._runtime.options.request_timeout,
        )
        await self._server.start()

    async def stop(self, grace: GracePeriod) -> None:
        """Take no more calls, let those that run end within the grace, then cancel them. Safe to call twice.

        A caller whose handler is cancelled gets an `UnexpectedError`.
        """
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace)
