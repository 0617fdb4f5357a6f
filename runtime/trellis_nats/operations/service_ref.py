"""A service's handle on one of its own operations: to end one that its handler left open."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import JsonValue

from trellis_nats._calls.incoming import IncomingCall
from trellis_nats._calls.replies import ErrorReplies
from trellis_nats.clock import now
from trellis_nats.codec import decode_json
from trellis_nats.context import Context
from trellis_nats.contract import Contract
from trellis_nats.errors import (
    ConfigurationError,
    OperationAlreadyTerminal,
    OperationMismatch,
    RpcError,
)
from trellis_nats.operations.host import OperationsHost
from trellis_nats.operations.model import changes
from trellis_nats.operations.model.record import OperationRecord
from trellis_nats.operations.model.states import OperationState
from trellis_nats.operations.snapshot import OperationCodecs, OperationSnapshot
from trellis_nats.specs import OperationSpec

__all__ = ["OperationRef"]

ProgressT = TypeVar("ProgressT")
OutputT = TypeVar("OutputT")


class OperationRef(Generic[ProgressT, OutputT]):
    """A handle on one operation of this service, in whichever of its processes it runs, or in none."""

    def __init__(
        self,
        host: OperationsHost,
        spec: OperationSpec,
        codecs: OperationCodecs,
        contract: Contract,
        operation_id: str,
    ) -> None:
        """Created by `endpoint.ref`."""
        self._host = host
        self._spec = spec
        self._codecs = codecs
        self._contract = contract
        self._id = operation_id

    def __repr__(self) -> str:
        return f"<OperationRef {self._spec.name} {self._id}>"

    @property
    def id(self) -> str:
        """The operation's id."""
        return self._id

    async def get(self) -> OperationSnapshot[ProgressT, OutputT]:
        """Return the operation as it stands now.

        Raises:
            OperationNotFound: the service has no operation with this id.
            OperationMismatch: the id belongs to another operation of the contract.
            TransportError: NATS did not answer.
        """
        self._host.require_own_loop()
        stored = await self._host.store.require(self._id)
        self._require_own(stored.record)
        return OperationSnapshot(stored.record.snapshot, self._codecs)

    async def progress(self, value: ProgressT) -> None:
        """Report progress of an operation that its handler left open. Raises as `complete`.

        Raises:
            ConfigurationError: the contract declares no progress for the operation.
        """
        codec = self._codecs.progress
        if codec is None:
            raise ConfigurationError(f'operation "{self._spec.name}" declares no progress in its contract')
        progress = codec.to_json(value)
        at = now()
        await self._change(lambda record: changes.set_progress(record, progress, at=at), keeps_room=True)

    async def complete(self, output: OutputT) -> None:
        """Complete the operation. A handler that still runs is cancelled.

        Raises:
            OperationAlreadyTerminal: it has ended.
            OperationNotFound: the service has no operation with this id.
            OperationMismatch: the id belongs to another operation of the contract.
            InvalidPayload: the value does not match its schema.
            PayloadTooLarge: the record of the operation would not fit into a message.
            WriteUnknown: the change may be stored.
            TransportError: NATS did not answer or refused; nothing was stored.
        """
        await self._end(OperationState.COMPLETED, output=self._codecs.output.to_json(output))

    async def fail(self, error: RpcError) -> None:
        """Fail the operation with an error that the contract declares, a `ValidationError` or an `AuthError`.

        Of any other error the caller gets an `UnexpectedError`, whose id is in the log. Raises as `complete`.
        """
        self._host.require_own_loop()
        replies = ErrorReplies("operation", self._spec.name, self._contract, self._spec.errors)
        record = (await self._host.store.require(self._id)).record
        context = Context.of_headers({} if record.execution is None else record.execution.context)
        call = IncomingCall(
            data=b"",
            headers={},
            reply_subject="",
            carried=context,
            timeout=None,
            deadline=None,
            operation_id=self._id,
        )
        reply = replies.reply_to_exception(call, error)
        await self._end(OperationState.FAILED, error=decode_json(reply.data))

    async def cancel(self) -> None:
        """Cancel the operation, also where the contract does not let callers do that. Raises as `complete`."""
        await self._end(OperationState.CANCELLED)

    async def _end(self, state: OperationState, **members: JsonValue) -> None:
        at = now()
        await self._change(lambda record: changes.end(record, state, at=at, **members))

    async def _change(self, transition: changes.Transition, *, keeps_room: bool = False) -> None:
        self._host.require_own_loop()
        written: OperationRecord | None = None

        def decide(record: OperationRecord) -> OperationRecord | None:
            nonlocal written
            if written is not None and record.snapshot == written.snapshot:
                return None  # stored before its answer was lost
            self._require_own(record)
            if record.has_ended:
                raise OperationAlreadyTerminal(record.id, record.state)
            written = transition(record)
            return written

        await self._host.store.change(self._id, decide, keeps_room=keeps_room)

    def _require_own(self, record: OperationRecord) -> None:
        if record.snapshot.operation != self._spec.name:
            raise OperationMismatch(self._id, expected=self._spec.name, actual=record.snapshot.operation)
