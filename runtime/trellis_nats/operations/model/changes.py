"""How the record of an operation changes. Pure: each function returns a new record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, TypeAlias

from pydantic import JsonValue

from trellis_nats.auth.caller import Caller
from trellis_nats.clock import timestamp
from trellis_nats.operations.model.record import (
    CallerRecord,
    Execution,
    JobAttachment,
    OperationRecord,
    SignalEntry,
    SnapshotRecord,
)
from trellis_nats.operations.model.states import OperationState, UpdateType

__all__ = [
    "SIGNALS_MAX",
    "Transition",
    "add_signal",
    "assign",
    "attach_job",
    "begin",
    "create_record",
    "defer",
    "derive_type",
    "end",
    "set_progress",
    "set_transfer",
    "set_upload",
]

SIGNALS_MAX: Final = 256
"""How many signals one operation accepts: its record keeps them all."""


Transition: TypeAlias = Callable[[OperationRecord], OperationRecord]


def create_record(
    snapshot_id: str,
    *,
    service: str,
    operation: str,
    owner: str,
    runner: str,
    value: JsonValue,
    context: Mapping[str, str],
    at: datetime,
    caller: Caller | None = None,
) -> OperationRecord:
    """Return the record of an operation that is accepted now."""
    execution = Execution(runner=runner, attempt=0, input=value, context=context)
    if caller is not None:
        execution = execution.model_copy(update={"caller": CallerRecord.of(caller)})
    return OperationRecord(
        owner_session_key=owner,
        sequence=0,
        signal_sequence=0,
        signals=(),
        snapshot=SnapshotRecord(
            id=snapshot_id,
            service=service,
            operation=operation,
            revision=1,
            state=OperationState.PENDING,
            created_at=timestamp(at),
            updated_at=timestamp(at),
        ),
        execution=execution,
    )


def begin(record: OperationRecord, *, at: datetime, traceparent: str | None = None) -> OperationRecord:
    """Record that a handler begins, and its span, if it has one."""
    span = {} if traceparent is None else {"traceparent": traceparent}
    begun = _change_execution(record, attempt=_attempt(record) + 1, **span)
    return _advance(begun, at, state=OperationState.RUNNING)


def set_progress(record: OperationRecord, progress: JsonValue, *, at: datetime) -> OperationRecord:
    """Record the progress; an operation that is still pending runs from then on."""
    return _advance(record, at, state=OperationState.RUNNING, progress=progress)


def set_transfer(record: OperationRecord, transfer: JsonValue, *, at: datetime) -> OperationRecord:
    """Record how far the upload is. An operation whose handler has not begun stays pending."""
    return _advance(record, at, transfer=transfer)


def set_upload(record: OperationRecord, info: JsonValue) -> OperationRecord:
    """Record the uploaded object, so that a handler that runs again has it. It is not an event of the operation."""
    return _change_execution(record, upload=info)


def end(
    record: OperationRecord, state: OperationState, *, at: datetime, **members: JsonValue
) -> OperationRecord:
    """Record the end, with an `output` or an `error`. What running it needs is dropped."""
    ended = _advance(record, at, state=state, completed_at=timestamp(at), **members)
    kept = {name: getattr(ended, name) for name in ended.model_fields_set if name != "execution"}
    return OperationRecord.model_construct(**kept)


def add_signal(
    record: OperationRecord, signal: str, value: JsonValue, *, at: datetime, request_id: str
) -> OperationRecord:
    """Record a signal. It is not an event of the operation: the snapshot stays."""
    sequence = record.signal_sequence + 1
    entry = SignalEntry(
        operation_id=record.id,
        sequence=sequence,
        signal=signal,
        input=value,
        accepted_at=timestamp(at),
        request_id=request_id,
    )
    return record.model_copy(update={"signal_sequence": sequence, "signals": (*record.signals, entry)})


def assign(record: OperationRecord, runner: str | None) -> OperationRecord:
    """Record which process runs the operation; None: any may take it."""
    return _change_execution(record, runner=runner)


def defer(record: OperationRecord) -> OperationRecord:
    """Record that the handler left the operation open."""
    return _change_execution(record, runner=None, is_deferred=True)


def attach_job(record: OperationRecord, *, queue: str, job_id: str) -> OperationRecord:
    """Record the job whose outcome the operation takes."""
    return _change_execution(record, job=JobAttachment(queue=queue, id=job_id))


def derive_type(before: OperationRecord | None, after: OperationRecord) -> UpdateType:
    """Return what happened between two records that follow each other; None: the one before is not known."""
    state = after.state
    if state is OperationState.COMPLETED:
        return "completed"
    if state is OperationState.FAILED:
        return "failed"
    if state is OperationState.CANCELLED:
        return "cancelled"
    old = None if before is None else before.snapshot
    if before is not None and _attempt(after) > _attempt(before):
        return "started"
    if after.snapshot.transfer != (None if old is None else old.transfer):
        return "transfer"
    if after.snapshot.progress == (None if old is None else old.progress) and (
        old is None or old.state is OperationState.PENDING
    ):
        return "started"
    return "progress"


def _attempt(record: OperationRecord) -> int:
    return 0 if record.execution is None else record.execution.attempt


def _execution(record: OperationRecord) -> Execution:
    if record.execution is None:
        return Execution(runner=None, input=None, context={})
    return record.execution


def _change_execution(record: OperationRecord, **members: object) -> OperationRecord:
    return record.model_copy(update={"execution": _execution(record).model_copy(update=members)})


def _advance(record: OperationRecord, at: datetime, **members: object) -> OperationRecord:
    snapshot = record.snapshot.model_copy(
        update={"revision": record.snapshot.revision + 1, "updated_at": timestamp(at), **members}
    )
    return record.model_copy(update={"sequence": record.sequence + 1, "snapshot": snapshot})
