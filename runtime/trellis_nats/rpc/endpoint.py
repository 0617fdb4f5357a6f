"""The service side of one remote procedure: registering its handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from typing_extensions import override

from trellis_nats._calls.registration import Registration
from trellis_nats._support.callables import is_coroutine_function
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats.binding import Binding
from trellis_nats.grants import Grant, Role
from trellis_nats.rpc.context import RpcContext
from trellis_nats.rpc.grants import serve_grants
from trellis_nats.rpc.responder import Responder
from trellis_nats.rpc.server import RpcServer
from trellis_nats.runtime import Runtime
from trellis_nats.specs import RpcSpec
from trellis_nats.surface import Surface

__all__ = ["RpcEndpoint"]

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class RpcEndpoint(Generic[RequestT, ResponseT]):
    """A procedure to be served: give it a handler, then run the service.

    Replicas of a service share the calls. In one process at most 100 handlers of a procedure run at a time, and 1,000
    more calls, and 64 MiB, wait for their turn; any further call is answered with an `UnexpectedError` at once.
    """

    def __init__(self, runtime: Runtime, spec: RpcSpec) -> None:
        self.spec = spec
        """What the contract declares about the procedure."""
        self._surface = _EndpointSurface[RequestT, ResponseT](runtime, spec)
        runtime.register(self._surface)

    def __repr__(self) -> str:
        return f"<RpcEndpoint {self.spec.name}>"

    def handle(
        self, handler: Callable[[RpcContext, RequestT], Awaitable[ResponseT]]
    ) -> Callable[[RpcContext, RequestT], Awaitable[ResponseT]]:
        """Register the handler: `@endpoint.handle` or `endpoint.handle(function)`. Returns it unchanged.

        The request is validated before the handler runs, and its return value before it is sent. An error that the
        contract declares reaches the caller as it is; so does a `ValidationError` or `AuthError` that the handler
        raises. Of any other exception the caller gets only an id; the service's log has the traceback under that id.
        The handler is cancelled when its caller stops waiting.

        Raises:
            HandlerConflict: the procedure has a handler, or the service has started.
            ConfigurationError: the handler is not an `async def`.
        """
        self._surface.registration.require_open()
        self._surface.registration.register(
            handler,
            is_usable=is_coroutine_function(handler),
            expected="an `async def`",
            parameters=("context", "request"),
        )
        return handler


class _EndpointSurface(Surface, Generic[RequestT, ResponseT]):
    takes_calls = True

    def __init__(self, runtime: Runtime, spec: RpcSpec) -> None:
        self.registration = Registration[Callable[[RpcContext, RequestT], Awaitable[ResponseT]]](
            "rpc", spec.name
        )
        self._runtime = runtime
        self._spec = spec
        self._server: RpcServer | None = None

    @override
    def grants(self, binding: Binding, role: Role) -> Iterable[Grant]:
        if role != "worker":
            return ()
        return serve_grants(self._runtime, self._spec, at_start=self.registration.at_start)

    @override
    def is_served(self) -> bool:
        """Return whether there is a handler."""
        return self.registration.has_handler

    @override
    async def start(self) -> None:
        """Begin to serve, if there is a handler. Calls are taken when this returns.

        Raises:
            ConfigurationError: the procedure is already served.
            PermissionDenied: the account may not subscribe to the procedure's subject.
            RequestTimeout: the server does not confirm the subscription.
        """
        handler = self.registration.begin(is_served=self._server is not None)
        if handler is None:
            return
        self._server = RpcServer(
            self._runtime.connection,
            self._spec,
            Responder(
                self._spec,
                self._runtime.contract,
                handler,
                self._runtime.metrics,
                self._runtime.admission,
            ),
            reply_timeout=self._runtime.options.request_timeout,
        )
        await self._server.start()

    @override
    async def stop(self, grace: GracePeriod) -> None:
        """Take no more calls, let running ones finish within the grace period, then cancel them.

        A caller whose handler is cancelled gets an `UnexpectedError`.
        """
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace)
