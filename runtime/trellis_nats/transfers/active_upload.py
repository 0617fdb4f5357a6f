"""An operation with an upload, as its handler receives it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeAlias, TypeVar

from trellis_nats.errors import UploadFailed
from trellis_nats.operations import ActiveOperation, Deferred
from trellis_nats.stores.object import ObjectInfo
from trellis_nats.transfers.grant import TRANSFER_INFO

__all__ = ["ActiveUpload", "UploadHandler"]

InputT = TypeVar("InputT")
ProgressT = TypeVar("ProgressT")
OutputT = TypeVar("OutputT")
SignalT = TypeVar("SignalT")


class ActiveUpload(ActiveOperation[InputT, ProgressT, OutputT, SignalT]):
    """An operation whose caller uploads an object, while its handler runs."""

    @property
    def upload(self) -> Coroutine[object, object, ObjectInfo]:
        """The uploaded object: `info = await operation.upload`. It is stored then, and visible under `info.key`.

        The content arrives while the handler runs; a handler that runs again gets the same object. A handler that ends
        before the upload does ends it too.

        Raises:
            UploadFailed: nothing is stored. `reason` says why: `expired` (no chunk came in time), `abandoned` (the
                caller stopped), `max_bytes_exceeded`, `session_closed` (the process that received it ended),
                `store_failed`, `busy`, or an error in the caller's frames. Not caught, it fails the operation, and its
                caller gets it as a `TransferError`.
            OperationCancelled: the operation was cancelled.
        """
        return self._wait_upload()

    async def _wait_upload(self) -> ObjectInfo:
        self.raise_if_cancelled()
        info = self._execution.uploaded
        if info is None:
            if self._execution.upload is None:
                raise UploadFailed("put", "session_closed")
            try:
                info = await self._execution.upload.completed()
            except UploadFailed:
                self.raise_if_cancelled()
                raise
        return TRANSFER_INFO.from_json(info).object_info()


UploadHandler: TypeAlias = Callable[
    [ActiveUpload[InputT, ProgressT, OutputT, SignalT]], Awaitable[OutputT | Deferred]
]
