"""The service side of one feed: registering its handler."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Generic, TypeVar

from typing_extensions import override

from trellis_nats._calls.registration import Registration
from trellis_nats._support.callables import is_coroutine_function
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats.binding import Binding
from trellis_nats.feeds.grants import serve_grants
from trellis_nats.feeds.server import FeedServer
from trellis_nats.feeds.session import FeedHandler, ServedFeed
from trellis_nats.grants import Grant, Role
from trellis_nats.runtime import Runtime
from trellis_nats.specs import FeedSpec
from trellis_nats.surface import Surface

__all__ = ["FeedEndpoint"]

RequestT = TypeVar("RequestT")
EventT = TypeVar("EventT")


class FeedEndpoint(Generic[RequestT, EventT]):
    """A feed to be served: give it a handler, then run the service.

    Replicas of a service share the callers. In one process at most 10,000 callers have a feed open at a time, and their
    calls take at most 64 MiB; any further call is answered with an `UnexpectedError`.
    """

    def __init__(self, runtime: Runtime, spec: FeedSpec) -> None:
        self.spec = spec
        """What the contract declares about the feed."""
        self._surface = _EndpointSurface[RequestT, EventT](runtime, spec)
        runtime.register(self._surface)

    def __repr__(self) -> str:
        return f"<FeedEndpoint {self.spec.name}>"

    def handle(self, handler: FeedHandler[RequestT, EventT]) -> FeedHandler[RequestT, EventT]:
        """Register the handler: `@endpoint.handle` or `endpoint.handle(function)`. Returns it unchanged.

        The handler is an async generator, and runs once for each caller that opens the feed:

            @service.feeds.orders.live.handle
            async def orders_live(context: FeedContext, request: OrdersLiveRequest) -> AsyncIterator[OrdersLiveEvent]:
                async with service.events.orders.shipped.subscribe() as events:
                    async for received in events:
                        yield OrdersLiveEvent(order_id=received.event.order_id)

        Each event is validated, then sent; while the socket is full the generator waits. Other tasks get a turn after
        each millisecond in which events follow each other at once. The generator is cancelled when the
        caller is gone, which the service notices at the second event without a receiver, or within 22 s while there are
        none. When it returns, the feed ends. An error that the contract declares reaches the caller as it is; so
        does a `ValidationError` or `AuthError` that the handler raises. Of any other exception the caller gets only an
        id; the service's log has the traceback under that id.

        Raises:
            HandlerConflict: the feed has a handler, or the service has started.
            ConfigurationError: the handler is not an async generator.
        """
        self._surface.registration.require_open()
        self._surface.registration.register(
            handler,
            is_usable=_may_be_async_generator(handler),
            expected="an async generator: an `async def` that yields",
            parameters=("context", "request"),
        )
        return handler


class _EndpointSurface(Surface, Generic[RequestT, EventT]):
    takes_calls = True

    def __init__(self, runtime: Runtime, spec: FeedSpec) -> None:
        self.registration = Registration[FeedHandler[RequestT, EventT]]("feed", spec.name)
        self._runtime = runtime
        self._spec = spec
        self._server: FeedServer | None = None

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
            ConfigurationError: the feed is already served.
            PermissionDenied: the account may not subscribe to the feed's subject.
            RequestTimeout: the server does not confirm the subscription.
        """
        handler = self.registration.begin(is_served=self._server is not None)
        if handler is None:
            return
        feed = ServedFeed(self._spec, self._runtime.contract, handler, self._runtime.admission)
        self._server = FeedServer(
            self._runtime.connection,
            feed,
            service=self._runtime.contract.name,
            instance=self._runtime.instance_id,
        )
        await self._server.start()

    @override
    async def stop(self, grace: GracePeriod) -> None:
        """End every open feed: its caller gets `FeedInterrupted`."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace)


def _may_be_async_generator(handler: object) -> bool:
    """Return whether a call of the handler may return an async iterator; a plain `def` may pass on one."""
    return (
        callable(handler) and not is_coroutine_function(handler) and not inspect.isgeneratorfunction(handler)
    )
