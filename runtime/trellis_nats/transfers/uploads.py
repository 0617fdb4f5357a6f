"""The uploads of one operation in this process: a bounded number, each with a grant of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final

from pydantic import JsonValue
from typing_extensions import override

from trellis_nats._calls.checks import session_key_of
from trellis_nats._calls.incoming import IncomingCall
from trellis_nats._calls.json_pointer import follow_pointer
from trellis_nats.codec import Codec
from trellis_nats.errors import (
    InvalidObjectKey,
    InvalidPayload,
    OperationCancelled,
    TransferError,
    TrellisError,
    UploadFailed,
)
from trellis_nats.operations import TransferProgress
from trellis_nats.operations.execution import ExecutionLost, OperationExecution, Upload
from trellis_nats.operations.runner import Uploads
from trellis_nats.runtime import Runtime
from trellis_nats.specs import UploadSpec
from trellis_nats.stores.meta import require_key
from trellis_nats.stores.object import ObjectInfo
from trellis_nats.stores.store import Store, find_store
from trellis_nats.transfers.grant import LIFE, TRANSFER_GRANT, TRANSFER_INFO, TransferInfo
from trellis_nats.transfers.upload_session import UploadSession

__all__ = ["OperationUploads"]

_GRANTED_MAX: Final = 1000
_RECEIVING_MAX: Final = 100
"""Each has up to 1 MiB that waits for its store, and 2 MiB on the way there."""
_METADATA: Final = Codec[dict[str, str]](dict[str, str], what="the metadata of an upload")


class OperationUploads(Uploads):
    """Grants uploads to the callers of one operation, and receives them."""

    def __init__(self, runtime: Runtime, name: str, spec: UploadSpec) -> None:
        self._runtime = runtime
        self._what = f'the request of operation "{name}"'
        self._spec = spec
        self._open: set[UploadSession] = set()

    @property
    def open_count(self) -> int:
        """How many uploads are granted or being received."""
        return len(self._open)

    @override
    def open(self, value: JsonValue, call: IncomingCall) -> Upload:
        """Grant an upload, and listen for its chunks. Raises as `Uploads.open`."""
        spec = self._spec
        key = self._require_text(spec.key, value)
        try:
            require_key(spec.store, key)
        except InvalidObjectKey as error:
            raise InvalidPayload(self._what, [(f"#{spec.key}", str(error))]) from None
        content_type = None if spec.content_type is None else follow_pointer(spec.content_type, value)
        metadata = self._metadata(value)
        if len(self._open) >= _GRANTED_MAX:
            raise TransferError("put", "busy")
        upload = _OperationUpload(
            self._runtime,
            self._store,
            key,
            spec,
            session_key=session_key_of(call.caller, call.headers),
            is_verified=call.caller is not None,
            content_type=content_type if isinstance(content_type, str) else None,
            metadata=metadata,
            may_start=self._may_start,
        )
        self._open.add(upload.session)
        upload.session.task.add_done_callback(lambda _: self._open.discard(upload.session))
        return upload

    @cached_property
    def _store(self) -> Store:
        return find_store(self._runtime, self._spec.store)

    def _may_start(self) -> bool:
        return sum(session.has_begun for session in self._open) < _RECEIVING_MAX

    def _require_text(self, pointer: str, value: JsonValue) -> str:
        found = follow_pointer(pointer, value)
        if isinstance(found, str):
            return found
        raise InvalidPayload(self._what, [(f"#{pointer}", "must be the key of the object that is uploaded")])

    def _metadata(self, value: JsonValue) -> Mapping[str, str] | None:
        pointer = self._spec.metadata
        found = None if pointer is None else follow_pointer(pointer, value)
        if found is None:
            return None
        try:
            return _METADATA.from_json(found)
        except InvalidPayload as error:
            issues = [(f"#{pointer}{path.removeprefix('#')}", text) for path, text in error.issues]
            raise InvalidPayload(self._what, issues) from None


class _OperationUpload(Upload):
    """The upload of one operation, and what it reports to the operation."""

    def __init__(
        self,
        runtime: Runtime,
        store: Store,
        key: str,
        spec: UploadSpec,
        *,
        session_key: str,
        is_verified: bool,
        content_type: str | None,
        metadata: Mapping[str, str] | None,
        may_start: Callable[[], bool],
    ) -> None:
        self.session: Final = UploadSession(
            runtime,
            store,
            key,
            session_key=session_key,
            is_verified=is_verified,
            content_type=content_type,
            metadata=metadata,
            max_bytes=spec.max_bytes,
            life=spec.expires_in or LIFE,
            may_start=may_start,
            on_progress=self._on_progress,
            on_stored=self._on_stored,
        )
        self._execution: OperationExecution | None = None
        self._attached = asyncio.Event()
        self._newest: TransferProgress | None = None
        self._reporting: asyncio.Task[None] | None = None

    @property
    @override
    def grant(self) -> JsonValue:
        return TRANSFER_GRANT.to_json(self.session.grant)

    @override
    def attach(self, execution: OperationExecution) -> None:
        self._execution = execution
        self._attached.set()

    @override
    async def completed(self) -> JsonValue:
        try:
            return _write_info(await self.session.completed())
        except TransferError as error:
            raise UploadFailed(error.operation, error.reason, error.context) from error

    @override
    def close(self) -> None:
        self.session.cancel()
        if self._reporting is not None:
            self._reporting.cancel()

    def _on_progress(self, progress: TransferProgress) -> None:
        """Store the newest progress. One write at a time: of chunks that arrive during a write, the last one counts."""
        self._newest = progress
        if self._reporting is None or self._reporting.done():
            self._reporting = asyncio.create_task(self._report(), name="report an upload")

    async def _report(self) -> None:
        execution = await self._wait_attached()
        while self._newest is not None:
            progress, self._newest = self._newest, None
            try:
                await execution.report_transfer(progress.to_json())
            except (ExecutionLost, TrellisError):
                return  # the write that stores the object fails likewise, and ends the upload

    async def _on_stored(self, info: ObjectInfo) -> None:
        execution = await self._wait_attached()
        if self._reporting is not None:
            await asyncio.wait([self._reporting])
        try:
            await execution.store_upload(_write_info(info))
        except (ExecutionLost, OperationCancelled):
            raise TransferError("put", "session_closed") from None

    async def _wait_attached(self) -> OperationExecution:
        """The caller may send before its operation runs here."""
        while self._execution is None:
            await self._attached.wait()
        return self._execution


def _write_info(info: ObjectInfo) -> JsonValue:
    return TRANSFER_INFO.to_json(TransferInfo.of(info))
