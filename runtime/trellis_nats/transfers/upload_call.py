"""The client side of an operation whose caller uploads an object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from typing_extensions import override

from trellis_nats.binding import Binding
from trellis_nats.errors import InvalidPayload, RpcError, TransferError, TransportError
from trellis_nats.errors.configuration import require_timedelta
from trellis_nats.grants import Grant, Role
from trellis_nats.operations import TransferProgress
from trellis_nats.operations.call import BaseOperationCall, CallSurface
from trellis_nats.operations.frames import ControlRequest
from trellis_nats.operations.snapshot import OperationSnapshot
from trellis_nats.stores.source import ObjectSource, size_of_source
from trellis_nats.transfers.grant import TRANSFER_GRANT
from trellis_nats.transfers.grants import upload_grants
from trellis_nats.transfers.upload import send_upload

__all__ = ["UploadCall"]

InputT = TypeVar("InputT")
RunT = TypeVar("RunT")


@dataclass(frozen=True)
class _UploadCallSurface(CallSurface):
    @override
    def grants(self, binding: Binding, role: Role) -> Iterator[Grant]:
        yield from super().grants(binding, role)
        if role in {"worker", "client"}:
            yield from upload_grants(self.spec.name)


class UploadCall(BaseOperationCall[RunT], Generic[InputT, RunT]):
    """An operation to be started, with an object to upload."""

    _surface = _UploadCallSurface

    async def start(
        self,
        request: InputT,
        *,
        upload: ObjectSource,
        on_progress: Callable[[TransferProgress], None] | None = None,
        timeout: timedelta | None = None,
    ) -> RunT:
        """Start an operation, upload the content, and return a handle as soon as the service has stored it.

            run = await client.operations.files.store.start(request, upload=Path("report.pdf"))

        The handler runs meanwhile; `run.result()` waits for its result. When this raises or is cancelled after the
        operation was started, the upload ends, nothing is stored, and the operation fails with a `TransferError`,
        unless its handler does without the upload. Start it again then.

        Args:
            request: what the operation is started with.
            upload: bytes, the path of a file, or an async iterator of bytes, which is read once.
            on_progress: called after each chunk that the service has accepted.
            timeout: how long to wait for the answer to the start. None: `Options.request_timeout`, which is also how
                long each chunk waits for its answer.

        Raises:
            DeclaredError: the handler raised one of the errors of its contract before the upload ended.
            TransferError: the upload failed; `reason` says why: `max_bytes_exceeded`, `session_closed` (the operation
                has ended in another way, or the process that received the upload), `expired`, `busy`, `store_failed`.
            InvalidPayload: the request does not match its schema, and nothing was sent; or an answer is malformed.
            ValidationError: the service rejects the request.
            AuthError: the caller may not do this.
            UnexpectedError: the service could not accept it, or the handler failed before the upload ended; the service's
                log has the details under the error's id.
            RpcError: the service refuses for another reason.
            NoResponders: no process serves the operation.
            RequestTimeout: no answer came in time.
            TransportError: NATS could not send the request or a chunk.
            OSError: the file cannot be read. If it cannot be found, nothing was sent.
            TypeError: `upload` is not content, for example a `str`; nothing was sent.
        """
        require_timedelta("timeout", timeout)
        size_of_source(upload)  # what cannot be read starts no operation
        accepted = await self._link.start(request, timeout)
        grant = TRANSFER_GRANT.from_json(accepted.transfer)
        try:
            await send_upload(
                self._link.connection,
                grant,
                upload,
                timeout=self._link.timeout,
                on_progress=on_progress,
                signer=self._link.signer,
            )
        except TransferError as error:
            failure = (
                await self._find_failure(accepted.snapshot.id) if error.reason == "session_closed" else None
            )
            raise failure or error from None
        return self._run(self._link, accepted.snapshot.id)

    async def _find_failure(self, operation_id: str) -> RpcError | None:
        """Return the error that an operation failed with while its upload was sent; None where that cannot be found out."""
        try:
            found = await self._link.control_snapshot(ControlRequest(action="get", operation_id=operation_id))
            return OperationSnapshot[object, object](found.snapshot, self._link.codecs).error
        except (RpcError, InvalidPayload, TransportError):
            return None
