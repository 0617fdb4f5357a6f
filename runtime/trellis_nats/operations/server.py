"""Receives the calls that start one operation, and those that ask about it, cancel it or signal to it."""

from __future__ import annotations

import logging
from typing import Final

from pydantic import JsonValue

from trellis_nats._calls.checks import check_caller, session_key_of
from trellis_nats._calls.error_codec import invalid_request
from trellis_nats._calls.incoming import IncomingCall
from trellis_nats._calls.presence import PresenceChecks
from trellis_nats._calls.receiver import CallReceiver
from trellis_nats._calls.replies import ErrorReplies, Reply
from trellis_nats._calls.spans import trace_call
from trellis_nats._nats.connection import Connection
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats._tracing.descriptions import describe_serving
from trellis_nats.auth import Admission
from trellis_nats.clock import now
from trellis_nats.contract import Contract
from trellis_nats.errors import (
    AuthError,
    InvalidPayload,
    OperationAlreadyTerminal,
    OperationMismatch,
    PayloadTooLarge,
    RpcError,
    TransferError,
    TransportError,
)
from trellis_nats.ids import new_id
from trellis_nats.operations.execution import Upload
from trellis_nats.operations.frames import (
    ACTIONS,
    KEEPALIVE_EVERY,
    Action,
    ControlRequest,
    InvalidFrame,
    read_control,
    write_accepted,
    write_control_error,
    write_interruption,
    write_signal_accepted,
    write_snapshot,
)
from trellis_nats.operations.host import OperationsHost
from trellis_nats.operations.model import changes
from trellis_nats.operations.model.record import OperationRecord, SignalEntry
from trellis_nats.operations.model.states import OperationState
from trellis_nats.operations.runner import OperationRunner, RegisteredOperation
from trellis_nats.operations.signals import SignalCodecs
from trellis_nats.operations.snapshot import OperationCodecs
from trellis_nats.operations.store import Stored
from trellis_nats.operations.watches import Watch, wait_ended
from trellis_nats.specs import OperationCapabilities, OperationSpec

__all__ = ["OperationServer"]

_CONTROLS_MAX: Final = 10_000
"""How many control requests, watches included, one process serves at a time for an operation."""
_CALLS_BYTES_MAX: Final = 64 * 1024 * 1024
"""What the calls that start operations, and those that control them, may take in memory."""


class OperationServer:
    """Serves one operation in this process."""

    def __init__(
        self,
        connection: Connection,
        host: OperationsHost,
        spec: OperationSpec,
        contract: Contract,
        registered: RegisteredOperation,
        admission: Admission | None = None,
    ) -> None:
        self._connection = connection
        self._host = host
        self._spec = spec
        self._service = contract.name
        self._registered = registered
        self._admission = admission
        self._codecs = OperationCodecs(spec)
        self._signals = SignalCodecs(spec)
        self._errors = ErrorReplies("operation", spec.name, contract, spec.errors)
        self._runner = OperationRunner(
            spec, registered, self._errors, follow_job=host.follow_job, is_leased=host.is_leased_as
        )
        self._starts = CallReceiver(connection, spec.subject, self._errors, self._accept_start)
        self._controls = CallReceiver(connection, spec.control_subject, self._errors, self._accept_control)
        self._checks: PresenceChecks | None = None
        self._start_span = describe_serving("operation", spec.name)
        self._control_spans = {
            action: describe_serving("operation", spec.name, action=action) for action in ACTIONS
        }

    async def start(self) -> None:
        """Begin to receive calls, which replicas share. Raises as `CallReceiver.start`."""
        self._checks = PresenceChecks(self._connection, alive_every=KEEPALIVE_EVERY)
        self._host.add(self._runner, self._codecs, self._signals)
        await self._controls.start()
        await self._starts.start()

    async def stop(self, grace: GracePeriod) -> None:
        """Accept no more operations; let handlers end within the grace period; then stop answering."""
        await self._starts.withdraw()
        await self._runner.stop(grace)
        await self._controls.withdraw()
        for task in list(self._controls.tasks):
            task.cancel()
        await self._controls.settle(grace)
        if self._checks is not None:
            await self._checks.stop()

    # --- starting --------------------------------------------------------------------------------------------------

    def _accept_start(self, call: IncomingCall) -> None:
        is_large = self._starts.memory_bytes > _CALLS_BYTES_MAX
        if self._runner.is_full or is_large or len(self._starts.tasks) >= _CONTROLS_MAX:
            self._starts.reply_now(call, self._errors.refuse(call, "too many operations are waiting"))
            return
        self._starts.serve(call, self._start(call))

    async def _start(self, call: IncomingCall) -> None:
        call = trace_call(call, self._start_span)
        with call.span:
            await self._accept(call)

    async def _accept(self, call: IncomingCall) -> None:
        spec = self._spec
        try:
            value = self._codecs.input.to_json(self._codecs.input.decode(call.data))
            call = await check_caller(self._admission, call, spec.subject, spec.capabilities.call)
            upload = self._open_upload(call, value)
        except InvalidPayload as error:
            self._starts.reply_now(call, self._errors.reply_to_invalid(call, error))
            return
        except TransferError as error:
            self._starts.reply_now(call, self._errors.reply_to_known(call, error))
            return
        except RpcError as error:
            self._starts.reply_now(call, self._errors.reply_to_refused(call, error))
            return
        try:
            await self._create(call, value, upload)
        except BaseException:
            if upload is not None:
                upload.close()
            raise

    def _open_upload(self, call: IncomingCall, value: JsonValue) -> Upload | None:
        uploads = self._registered.uploads
        return None if uploads is None else uploads.open(value, call)

    async def _create(self, call: IncomingCall, value: JsonValue, upload: Upload | None) -> None:
        """Store the operation, answer its caller, and run it."""
        record = changes.create_record(
            new_id(),
            service=self._service,
            operation=self._spec.name,
            owner=session_key_of(call.caller, call.headers),
            runner=self._host.lease_id,
            value=value,
            context=call.carried.headers(),
            at=now(),
            caller=call.caller,
        )
        try:
            stored = await self._host.store.create(record)
        except (TransportError, PayloadTooLarge) as error:
            self._starts.reply_now(call, self._errors.refuse(call, str(error), level=logging.ERROR))
            if upload is not None:
                upload.close()
            return
        grant = None if upload is None else upload.grant
        self._starts.reply_now(call, write_accepted(record.snapshot, grant))
        self._host.run(stored, upload)

    # --- control ---------------------------------------------------------------------------------------------------

    def _accept_control(self, call: IncomingCall) -> None:
        if len(self._controls.tasks) >= _CONTROLS_MAX or self._controls.memory_bytes > _CALLS_BYTES_MAX:
            reason = f"{_CONTROLS_MAX} callers control or watch operations in this process"
            self._controls.reply_now(call, write_control_error(self._errors.refuse(call, reason)))
            return
        self._controls.serve(call, self._control(call))

    async def _control(self, call: IncomingCall) -> None:
        try:
            request = read_control(call.data)
        except InvalidFrame as error:
            self._controls.reply_now(call, write_control_error(self._errors.refuse(call, str(error))))
            return
        call = trace_call(call, self._control_spans[request.action])
        capabilities = _required(self._spec.capabilities, request.action)
        with call.span:
            try:
                call = await check_caller(self._admission, call, self._spec.control_subject, capabilities)
            except RpcError as error:
                refused = self._errors.reply_to_refused(call, error)
                self._controls.reply_now(call, write_control_error(refused))
            else:
                await self._reply_to(call, request)

    async def _reply_to(self, call: IncomingCall, request: ControlRequest) -> None:
        reply: Reply | None
        try:
            reply = await self._answer(call, request)
        except (InvalidFrame, TransportError) as error:
            reply = write_control_error(self._errors.refuse(call, str(error)))
            if request.action == "watch":
                reply = write_interruption(new_id(), str(error))
        except AuthError as error:
            reply = write_control_error(self._errors.reply_to_refused(call, error))
        except RpcError as error:
            reply = write_control_error(self._errors.reply_to_known(call, error))
        if reply is not None:
            self._controls.reply_now(call, reply)

    async def _answer(self, call: IncomingCall, request: ControlRequest) -> Reply | None:
        """Return the answer to a control request; None when its frames are sent already.

        Raises:
            InvalidFrame: the request does not have what its action needs.
            RpcError: the request is refused.
            TransportError: NATS did not answer.
        """
        stored = await self._find(request.operation_id)
        _require_owner(stored.record, call)
        match request.action:
            case "get":
                return write_snapshot(stored.record.snapshot)
            case "wait":
                ended = await wait_ended(self._host.store, self._host.feed, request.operation_id)
                return write_snapshot(ended.record.snapshot)
            case "watch":
                if self._checks is not None:
                    watch = Watch(
                        self._connection,
                        self._host.store,
                        self._host.feed,
                        self._checks,
                        call,
                        header_line=self._errors.version.header_line,
                    )
                    await watch.run(stored, after=request.after)
                return None
            case "cancel":
                return await self._cancel(stored)
            case "signal":
                return await self._signal(stored, request, call.request_id)

    async def _find(self, operation_id: str) -> Stored:
        stored = await self._host.store.require(operation_id)
        if stored.record.snapshot.operation != self._spec.name:
            raise OperationMismatch(
                operation_id, expected=self._spec.name, actual=stored.record.snapshot.operation
            )
        return stored

    async def _cancel(self, stored: Stored) -> Reply:
        if not self._spec.cancel:
            raise invalid_request([("/action", f"Operation '{self._spec.name}' does not support cancel")])
        tries = 0

        def decide(record: OperationRecord) -> OperationRecord | None:
            nonlocal tries
            tries += 1
            if tries > 1 and record.state is OperationState.CANCELLED:
                return (
                    None  # stored before its answer was lost, or cancelled by another caller at the same time
                )
            _require_open(record)
            return changes.end(record, OperationState.CANCELLED, at=now())

        ended = await self._host.store.change(stored.record.id, decide, known=stored)
        return write_snapshot(ended.record.snapshot)

    async def _signal(self, stored: Stored, request: ControlRequest, request_id: str) -> Reply:
        name = request.signal
        if name is None:
            raise InvalidFrame("the request needs a signal")
        _require_open(stored.record)
        if name not in self._signals:
            raise invalid_request([("/signal", f"Unknown operation signal '{name:.100}'")])
        try:
            self._signals.validate(name, request.input)
        except InvalidPayload as error:
            raise invalid_request(error.issues) from None

        def decide(record: OperationRecord) -> OperationRecord | None:
            if _find_signal(record, request_id) is not None:
                return None
            _require_open(record)
            if len(record.signals) >= changes.SIGNALS_MAX:
                text = f"The operation has accepted {changes.SIGNALS_MAX} signals, which is the limit"
                raise invalid_request([("/signal", text)])
            return changes.add_signal(record, name, request.input, at=now(), request_id=request_id)

        changed = await self._host.store.change(stored.record.id, decide, known=stored, keeps_room=True)
        entry = _find_signal(changed.record, request_id)
        if entry is None:  # the record as `decide` returned it has the signal
            raise InvalidFrame("the signal was not stored")
        return write_signal_accepted(entry, changed.record.snapshot)


def _required(capabilities: OperationCapabilities, action: Action) -> tuple[str, ...]:
    """Return what the caller of an action must hold."""
    match action:
        case "cancel":
            return capabilities.cancel
        case "signal":
            return capabilities.control
        case "get" | "wait" | "watch":
            return capabilities.call if capabilities.observe is None else capabilities.observe


def _require_owner(record: OperationRecord, call: IncomingCall) -> None:
    """Refuse a caller that has not started the operation. One without an owner was started when callers were not checked."""
    owner = record.owner_session_key
    if call.caller is not None and owner and call.caller.session_key != owner:
        raise AuthError("forbidden", {"ownerSessionKey": owner})


def _require_open(record: OperationRecord) -> None:
    if record.has_ended:
        raise OperationAlreadyTerminal(record.id, record.state)


def _find_signal(record: OperationRecord, request_id: str) -> SignalEntry | None:
    return next((entry for entry in record.signals if entry.request_id == request_id), None)
