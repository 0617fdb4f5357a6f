"""The service side of an operation whose caller uploads an object: registering its handler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar, overload

from typing_extensions import override

from trellis_nats.binding import Binding
from trellis_nats.errors import ConfigurationError
from trellis_nats.errors.configuration import require_text
from trellis_nats.grants import Grant, Role
from trellis_nats.operations import OperationRef, ResumePolicy
from trellis_nats.operations.endpoint import CONCURRENCY, EndpointSurface
from trellis_nats.operations.host import host_of
from trellis_nats.operations.snapshot import OperationCodecs
from trellis_nats.runtime import Runtime
from trellis_nats.specs import OperationSpec
from trellis_nats.transfers.active_upload import ActiveUpload, UploadHandler
from trellis_nats.transfers.grants import serve_upload_grants
from trellis_nats.transfers.uploads import OperationUploads

__all__ = ["UploadEndpoint"]

InputT = TypeVar("InputT")
ProgressT = TypeVar("ProgressT")
OutputT = TypeVar("OutputT")
SignalT = TypeVar("SignalT")


class UploadEndpoint(Generic[InputT, ProgressT, OutputT, SignalT]):
    """An operation whose caller uploads an object: give it a handler, then run the service.

    It is an `OperationEndpoint` in all else. In one process 1,000 callers may have an upload that they have not begun,
    and 100 uploads are received at a time; a further caller gets `TransferError` with the reason `busy`.
    """

    def __init__(self, runtime: Runtime, spec: OperationSpec) -> None:
        if spec.upload is None:
            raise ConfigurationError(f'operation "{spec.name}" declares no transfer in its contract')
        self.spec = spec
        """What the contract declares about the operation."""
        self._runtime = runtime
        self._host = host_of(runtime)
        self._codecs = OperationCodecs(spec)
        self._uploads = OperationUploads(runtime, spec.name, spec.upload)
        self._surface = _UploadEndpointSurface(runtime, spec, self._host)
        runtime.register(self._surface)

    def __repr__(self) -> str:
        return f"<UploadEndpoint {self.spec.name}>"

    @property
    def open_count(self) -> int:
        """How many uploads are granted or being received in this process."""
        return self._uploads.open_count

    @overload
    def handle(
        self, handler: UploadHandler[InputT, ProgressT, OutputT, SignalT], /
    ) -> UploadHandler[InputT, ProgressT, OutputT, SignalT]: ...

    @overload
    def handle(
        self, /, *, resume: ResumePolicy = "fail", concurrency: int = CONCURRENCY
    ) -> Callable[
        [UploadHandler[InputT, ProgressT, OutputT, SignalT]],
        UploadHandler[InputT, ProgressT, OutputT, SignalT],
    ]: ...

    def handle(
        self,
        handler: UploadHandler[InputT, ProgressT, OutputT, SignalT] | None = None,
        /,
        *,
        resume: ResumePolicy = "fail",
        concurrency: int = CONCURRENCY,
    ) -> (
        UploadHandler[InputT, ProgressT, OutputT, SignalT]
        | Callable[
            [UploadHandler[InputT, ProgressT, OutputT, SignalT]],
            UploadHandler[InputT, ProgressT, OutputT, SignalT],
        ]
    ):
        """Register the handler: `@endpoint.handle`, or `@endpoint.handle(resume="run-again")`. Returns it unchanged.

            @service.operations.files.store.handle
            async def store(operation: FilesStoreOperation) -> StoreFileResult:
                info = await operation.upload
                return StoreFileResult(size=info.size)

        It begins while the content still arrives. Everything else is as with `OperationEndpoint.handle`, its arguments
        and what it raises too.
        """

        def register(
            function: UploadHandler[InputT, ProgressT, OutputT, SignalT],
        ) -> UploadHandler[InputT, ProgressT, OutputT, SignalT]:
            self._surface.register(
                function, resume=resume, concurrency=concurrency, active=ActiveUpload, uploads=self._uploads
            )
            return function

        return register if handler is None else register(handler)

    def ref(self, operation_id: str) -> OperationRef[ProgressT, OutputT]:
        """Return a handle on an operation of this service, to end one that its handler left open. Nothing is sent."""
        require_text("operation_id", operation_id)
        return OperationRef(self._host, self.spec, self._codecs, self._runtime.contract, operation_id)


class _UploadEndpointSurface(EndpointSurface):
    @override
    def grants(self, binding: Binding, role: Role) -> Iterator[Grant]:
        yield from super().grants(binding, role)
        if role == "worker":
            yield from serve_upload_grants(self._runtime, self._spec.name, at_start=self.at_start)
