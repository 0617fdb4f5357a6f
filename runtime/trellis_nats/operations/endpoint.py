"""The service side of one operation: registering its handler, and ending operations that were left open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Generic, TypeVar, overload

from typing_extensions import override

from trellis_nats._calls.registration import Registration
from trellis_nats._support.callables import is_coroutine_function
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats.binding import Binding
from trellis_nats.errors import ConfigurationError
from trellis_nats.errors.configuration import require_kind, require_text
from trellis_nats.grants import Grant, Role, StartCheck
from trellis_nats.operations.active import ActiveOperation, OperationHandler
from trellis_nats.operations.grants import serve_grants
from trellis_nats.operations.host import OperationsHost, host_of
from trellis_nats.operations.model.states import ResumePolicy
from trellis_nats.operations.runner import RegisteredOperation, Uploads
from trellis_nats.operations.server import OperationServer
from trellis_nats.operations.service_ref import OperationRef
from trellis_nats.operations.snapshot import OperationCodecs
from trellis_nats.runtime import Runtime
from trellis_nats.specs import OperationSpec
from trellis_nats.surface import Surface

__all__ = ["CONCURRENCY", "EndpointSurface", "OperationEndpoint"]

InputT = TypeVar("InputT")
ProgressT = TypeVar("ProgressT")
OutputT = TypeVar("OutputT")
SignalT = TypeVar("SignalT")

CONCURRENCY: Final = 100
"""How many handlers of an operation run at a time in one process, unless the registration says otherwise."""


class OperationEndpoint(Generic[InputT, ProgressT, OutputT, SignalT]):
    """An operation to be served: give it a handler, then run the service.

    Replicas of a service share the calls. An operation is stored before its caller learns its id, and every process of
    the service answers for it. In one process, beyond the operations that run, 1,000 wait for their turn; any further
    start is answered with an `UnexpectedError`.
    """

    def __init__(self, runtime: Runtime, spec: OperationSpec) -> None:
        self.spec = spec
        """What the contract declares about the operation."""
        self._runtime = runtime
        self._host = host_of(runtime)
        self._codecs = OperationCodecs(spec)
        self._surface = EndpointSurface(runtime, spec, self._host)
        runtime.register(self._surface)

    def __repr__(self) -> str:
        return f"<OperationEndpoint {self.spec.name}>"

    @overload
    def handle(
        self, handler: OperationHandler[InputT, ProgressT, OutputT, SignalT], /
    ) -> OperationHandler[InputT, ProgressT, OutputT, SignalT]: ...

    @overload
    def handle(
        self, /, *, resume: ResumePolicy = "fail", concurrency: int = CONCURRENCY
    ) -> Callable[
        [OperationHandler[InputT, ProgressT, OutputT, SignalT]],
        OperationHandler[InputT, ProgressT, OutputT, SignalT],
    ]: ...

    def handle(
        self,
        handler: OperationHandler[InputT, ProgressT, OutputT, SignalT] | None = None,
        /,
        *,
        resume: ResumePolicy = "fail",
        concurrency: int = CONCURRENCY,
    ) -> (
        OperationHandler[InputT, ProgressT, OutputT, SignalT]
        | Callable[
            [OperationHandler[InputT, ProgressT, OutputT, SignalT]],
            OperationHandler[InputT, ProgressT, OutputT, SignalT],
        ]
    ):
        """Register the handler: `@endpoint.handle`, or `@endpoint.handle(resume="run-again")`. Returns it unchanged.

            @service.operations.orders.process.handle
            async def process(operation: OrdersProcessOperation) -> ProcessOrderResult:
                await operation.progress(ProcessOrderProgress(step="packing"))
                return ProcessOrderResult(order_id=operation.input.order_id)

        What the handler returns is validated and completes the operation. An error that the contract declares fails it,
        and reaches the caller as it is; so does a `ValidationError` or `AuthError` that the handler raises. Of any other
        exception the caller gets only an id; the service's log has the traceback under that id. A handler whose
        operation is cancelled is not stopped: it looks at `operation.is_cancelled`, and `operation.progress` raises.

        Args:
            handler: an `async def`.
            resume: what happens to an operation whose process ends while its handler runs. `"fail"`: it fails with
                `OperationInterrupted`, because part of the work may be done. `"run-again"`: another process, or this
                one after its restart, runs the handler again from the beginning; choose it when that is harmless.
                Operations whose handler has not begun run in either case.
            concurrency: how many handlers run at a time in this process; the others wait.

        Raises:
            HandlerConflict: the operation has a handler, or the service has started.
            ConfigurationError: the handler is not an `async def`, or an argument is not valid.
        """

        def register(
            function: OperationHandler[InputT, ProgressT, OutputT, SignalT],
        ) -> OperationHandler[InputT, ProgressT, OutputT, SignalT]:
            self._surface.register(function, resume=resume, concurrency=concurrency)
            return function

        return register if handler is None else register(handler)

    def ref(self, operation_id: str) -> OperationRef[ProgressT, OutputT]:
        """Return a handle on an operation of this service, to end one that its handler left open. Nothing is sent."""
        require_text("operation_id", operation_id)
        return OperationRef(self._host, self.spec, self._codecs, self._runtime.contract, operation_id)


class EndpointSurface(Surface):
    """The service side of one operation."""

    takes_calls = True

    def __init__(self, runtime: Runtime, spec: OperationSpec, host: OperationsHost) -> None:
        self._registration = Registration[RegisteredOperation]("operation", spec.name)
        self._runtime = runtime
        self._spec = spec
        self._host = host
        self._server: OperationServer | None = None

    def register(
        self,
        handler: Callable[[Any], Awaitable[object]],  # Any: the endpoint says which types
        *,
        resume: ResumePolicy,
        concurrency: int,
        active: type[ActiveOperation[Any, Any, Any, Any]] = ActiveOperation,
        uploads: Uploads | None = None,
    ) -> None:
        """Register the handler. Raises as `OperationEndpoint.handle`.

        Args:
            handler: an `async def`.
            resume: what happens to an operation whose process ended.
            concurrency: how many handlers run at a time.
            active: the class of what the handler receives.
            uploads: grants uploads to callers; None where the contract declares no transfer.
        """
        self._registration.require_open()
        if resume not in {"fail", "run-again"}:
            raise ConfigurationError(
                f'operation "{self._spec.name}": resume must be "fail" or "run-again", got {resume!r}'
            )
        require_kind(f'operation "{self._spec.name}": concurrency', concurrency, int, "a whole number")
        if concurrency < 1:
            raise ConfigurationError(
                f'operation "{self._spec.name}": concurrency must be at least 1, got {concurrency}'
            )
        self._registration.register(
            RegisteredOperation(
                handler=handler, resume=resume, concurrency=concurrency, active=active, uploads=uploads
            ),
            shown=handler,
            is_usable=is_coroutine_function(handler),
            expected="an `async def`",
            parameters=("operation",),
        )
        self._host.serves.add(self._spec.name)

    @property
    def at_start(self) -> StartCheck:
        """What the start does about permissions."""
        return self._registration.at_start

    @override
    def grants(self, binding: Binding, role: Role) -> Iterator[Grant]:
        """Return what serving the operation needs."""
        if role == "worker":
            yield from serve_grants(self._runtime, self._spec, at_start=self._registration.at_start)

    @override
    def is_served(self) -> bool:
        """Return whether there is a handler."""
        return self._registration.has_handler

    @override
    async def start(self) -> None:
        """Begin to serve, if there is a handler. Calls are taken when this returns.

        Raises:
            ConfigurationError: the operation is already served.
            PermissionDenied: the account may not subscribe to the operation's subjects.
            RequestTimeout: the server does not confirm the subscriptions.
        """
        registered = self._registration.begin(is_served=self._server is not None)
        if registered is None:
            return
        self._server = OperationServer(
            self._runtime.connection,
            self._host,
            self._spec,
            self._runtime.contract,
            registered,
            self._runtime.admission,
        )
        await self._server.start()

    @override
    async def stop(self, grace: GracePeriod) -> None:
        """Accept no more operations, let running handlers end within the grace period, then cancel them."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace)
