"""How an operation stands, and what happened to it, as programs see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from trellis_nats._calls.error_codec import ErrorCodec
from trellis_nats.clock import parse_timestamp
from trellis_nats.codec import Codec, encode_json
from trellis_nats.errors import OperationCancelled, RpcError
from trellis_nats.operations.model.record import SnapshotRecord
from trellis_nats.operations.model.states import OperationState, UpdateType
from trellis_nats.operations.model.transfer import TransferProgress, read_transfer
from trellis_nats.specs import OperationSpec

__all__ = ["OperationCodecs", "OperationSnapshot", "OperationUpdate"]

ProgressT = TypeVar("ProgressT")
OutputT = TypeVar("OutputT")


class OperationCodecs:
    """The codecs of one operation."""

    def __init__(self, spec: OperationSpec) -> None:
        what = f'operation "{spec.name}"'
        # Any: the generated classes say which types these are.
        self.input = Codec[Any](spec.input, what=f"the request of {what}")
        self.output = Codec[Any](spec.output, what=f"the result of {what}")
        self.progress = (
            None if spec.progress is None else Codec[Any](spec.progress, what=f"the progress of {what}")
        )
        self.errors = ErrorCodec(what, spec.errors)


class OperationSnapshot(Generic[ProgressT, OutputT]):
    """How an operation stands. Its progress, output and error are decoded when they are asked for."""

    def __init__(self, record: SnapshotRecord, codecs: OperationCodecs) -> None:
        self._record = record
        self._codecs = codecs

    def __repr__(self) -> str:
        return f"<OperationSnapshot {self._record.operation} {self.id} {self.state} revision {self.revision}>"

    @property
    def id(self) -> str:
        """The operation's id, a ULID."""
        return self._record.id

    @property
    def revision(self) -> int:
        """From 1; grows by one with each event of the operation."""
        return self._record.revision

    @property
    def state(self) -> OperationState:
        """Where the operation stands."""
        return self._record.state

    @property
    def is_terminal(self) -> bool:
        """Whether the operation has ended."""
        return self._record.state.is_terminal

    @property
    def created_at(self) -> datetime:
        """When the service accepted it."""
        return parse_timestamp(self._record.created_at)

    @property
    def updated_at(self) -> datetime:
        """When it changed last."""
        return parse_timestamp(self._record.updated_at)

    @property
    def completed_at(self) -> datetime | None:
        """When it ended, in whatever way; None while it has not."""
        completed_at = self._record.completed_at
        return None if completed_at is None else parse_timestamp(completed_at)

    @property
    def progress(self) -> ProgressT | None:
        """The newest progress; None where there is none yet.

        Raises:
            InvalidPayload: it does not match its schema.
        """
        codec = self._codecs.progress
        if codec is None or "progress" not in self._record.model_fields_set:
            return None
        progress: ProgressT = codec.from_json(self._record.progress)
        return progress

    @property
    def transfer(self) -> TransferProgress | None:
        """How far the upload is; None where there is none, or none of it has arrived."""
        return read_transfer(self._record.transfer)

    @property
    def error(self) -> RpcError | None:
        """Why the operation failed; None unless it did.

        Raises:
            InvalidPayload: it is not an error object.
        """
        error = self._record.error
        return None if error is None else self._codecs.errors.decode(encode_json(dict(error)))

    @property
    def output(self) -> OutputT:
        """The result of a completed operation.

        Raises:
            RpcError: the operation failed; the error that its handler raised, as the generated class.
            OperationCancelled: it was cancelled.
            ValueError: it has not ended.
            InvalidPayload: the result does not match its schema.
        """
        match self.state:
            case OperationState.COMPLETED:
                output: OutputT = self._codecs.output.from_json(self._record.output)
                return output
            case OperationState.CANCELLED:
                raise OperationCancelled(self.id)
            case OperationState.FAILED:
                raise self.error or self._codecs.errors.decode(b"{}")
            case _:
                raise ValueError(f"operation {self.id} is {self.state}: it has no result yet")


@dataclass(frozen=True, slots=True)
class OperationUpdate(Generic[ProgressT, OutputT]):
    """What a watcher learns about an operation."""

    type: UpdateType
    """What happened; `snapshot` is how the operation stands when watching begins."""
    sequence: int
    """Counts the events of the operation. Where one is left out, a watcher was away for longer than the service keeps
    events; the snapshot is the newest one all the same."""
    snapshot: OperationSnapshot[ProgressT, OutputT]
    """How the operation stands then."""
