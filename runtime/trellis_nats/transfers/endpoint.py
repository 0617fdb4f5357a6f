"""The service side of a procedure that answers with an object: registering its handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from trellis_nats._support.callables import describe_callable, find_parameter_problem, is_coroutine_function
from trellis_nats.errors import ConfigurationError
from trellis_nats.grants import StartCheck
from trellis_nats.rpc.context import RpcContext
from trellis_nats.rpc.endpoint import RpcEndpoint
from trellis_nats.runtime import Runtime
from trellis_nats.specs import DownloadSpec, RpcSpec
from trellis_nats.stores.object import StoredObject
from trellis_nats.transfers.downloads import Downloads
from trellis_nats.transfers.grant import TransferGrant

__all__ = ["DownloadEndpoint", "rpc_spec"]

RequestT = TypeVar("RequestT")


def rpc_spec(spec: DownloadSpec) -> RpcSpec:
    """Return the procedure behind a download: it answers with the grant."""
    return RpcSpec(
        name=spec.name,
        subject=spec.subject,
        input=spec.input,
        output=TransferGrant,
        errors=spec.errors,
        capabilities=spec.capabilities,
    )


class DownloadEndpoint(Generic[RequestT]):
    """A procedure whose answer is an object of a store: give it a handler, then run the service.

    Replicas share the calls. In one process up to 1,000 callers may have a download that they have not begun, for a
    minute each, and 100 downloads are sent at a time; a further caller gets `TransferError` with the reason `busy`.
    """

    def __init__(self, runtime: Runtime, spec: DownloadSpec) -> None:
        self.spec = spec
        """What the contract declares about the procedure."""
        self._endpoint = RpcEndpoint[RequestT, TransferGrant](runtime, rpc_spec(spec))
        self._has_handler = False
        self._downloads = Downloads(runtime, spec.name, at_start=self._at_start)
        runtime.register(self._downloads)

    def __repr__(self) -> str:
        return f"<DownloadEndpoint {self.spec.name}>"

    @property
    def open_count(self) -> int:
        """How many downloads are granted or being sent in this process."""
        return self._downloads.open_count

    def handle(
        self, handler: Callable[[RpcContext, RequestT], Awaitable[StoredObject]]
    ) -> Callable[[RpcContext, RequestT], Awaitable[StoredObject]]:
        """Register the handler: `@endpoint.handle` or `endpoint.handle(function)`. Returns it unchanged.

            @service.rpc.files.download.handle
            async def download(context: RpcContext, request: DownloadRequest) -> StoredObject:
                stored = await service.stores.files.get(request.key)
                if stored is None:
                    raise NotFoundError(key=request.key)
                return stored

        The object is read when the caller downloads it, within a minute. What the handler raises reaches the caller as
        from `RpcEndpoint.handle`.

        Raises:
            HandlerConflict: the procedure has a handler, or the service has started.
            ConfigurationError: the handler is not an `async def`.
        """
        if not is_coroutine_function(handler):
            raise ConfigurationError(
                f'rpc "{self.spec.name}": the handler {describe_callable(handler)} must be an `async def`'
            )
        problem = find_parameter_problem(handler, "context", "request")
        if problem is not None:
            raise ConfigurationError(
                f'rpc "{self.spec.name}": the handler {describe_callable(handler)} {problem}'
            )

        async def grant(context: RpcContext, request: RequestT) -> TransferGrant:
            return self._downloads.grant_download(
                self._require_object(await handler(context, request)), context
            )

        self._endpoint.handle(grant)
        self._has_handler = True
        return handler

    def _require_object(self, stored: object) -> StoredObject:
        if isinstance(stored, StoredObject):
            return stored
        raise TypeError(
            f'the handler of rpc "{self.spec.name}" must return a StoredObject, not {type(stored).__name__}'
        )

    def _at_start(self) -> StartCheck:
        return StartCheck.REQUIRED if self._has_handler else StartCheck.SKIPPED
