"""One operation that this process runs: its record, and every write to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.outages import through_outages
from trellis_nats._tracing.span import UNTRACED, Span
from trellis_nats.clock import now
from trellis_nats.context import Context
from trellis_nats.errors import OperationCancelled
from trellis_nats.operations.model import changes
from trellis_nats.operations.model.record import OperationRecord
from trellis_nats.operations.model.states import OperationState
from trellis_nats.operations.signals import SignalCodecs
from trellis_nats.operations.snapshot import OperationCodecs
from trellis_nats.operations.store import OperationStore, Stored
from trellis_nats.specs import OperationSignal, OperationSpec

__all__ = ["ExecutionLost", "OperationExecution", "Upload"]


class ExecutionLost(Exception):
    """Another process runs the operation now, or it has ended elsewhere: nothing that this process does counts."""


class _Job(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def queue(self) -> str: ...


class Upload(Protocol):
    """The upload of one operation, in the process that granted it."""

    @property
    def grant(self) -> JsonValue:
        """What the caller needs to upload, as in the answer to its start."""
        ...

    def attach(self, execution: OperationExecution) -> None:
        """Report to the operation from now on."""
        ...

    async def completed(self) -> JsonValue:
        """Wait for the end, and return the stored object, as in the reply to its last chunk.

        Raises:
            UploadFailed: nothing is stored.
        """
        ...

    def close(self) -> None:
        """End the upload; the caller of a running one gets an error. Safe to call twice."""
        ...


class OperationExecution:
    """The record of an operation, as this process has written or received it last.

    A write whose answer was lost is found by the snapshot that it stored: its time is that of the call, also when it is repeated.
    """

    def __init__(
        self,
        connection: Connection,
        store: OperationStore,
        stored: Stored,
        *,
        spec: OperationSpec,
        codecs: OperationCodecs,
        signals: SignalCodecs,
        runner: str,
        upload: Upload | None = None,
    ) -> None:
        self.spec = spec
        self.codecs = codecs
        self.cancelled = asyncio.Event()
        """Set when the operation is cancelled."""
        self.is_lost = False
        """Whether another process has taken the operation, or it has ended elsewhere in another way than cancelled."""
        execution = stored.record.execution
        self.context = Context.of_headers({} if execution is None else execution.context)
        """The request and trace of the caller; while its handler runs, with the span of the attempt."""
        self.span = UNTRACED
        """The span of the attempt."""
        self.caller = stored.record.caller
        """The caller that started it. None where callers were not checked."""
        self.attempt = 0 if execution is None else execution.attempt
        """How often a handler has begun."""
        self.upload = upload
        """The caller's upload; None where the operation has none, or another process granted it."""
        self.on_lost: Callable[[], object] = lambda: None
        """Called once when the operation is lost."""
        self.on_cancelled: Callable[[], object] = lambda: None
        """Called once when the operation is cancelled."""
        self._connection = connection
        self._store = store
        self._stored = stored
        self._signals = signals
        self.runner = runner
        """The lease under which this process runs it."""
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._is_released = False
        self._arrived: Stored | None = None
        """What arrived during a write."""
        if upload is not None:
            upload.attach(self)

    @property
    def record(self) -> OperationRecord:
        """The record as it is known now."""
        return self._stored.record

    def require_own_loop(self) -> None:
        """Refuse a call that does not run on the event loop of the connection. Raises as `Connection.require_own_loop`."""
        self._connection.require_own_loop()

    def receive(self, stored: Stored) -> None:
        """Take a record that this or another process has stored."""
        if stored.revision <= self._stored.revision:
            return
        if self._writing.locked():
            self._arrived = stored  # may be what is being written: that is not news from another process
            return
        self._stored = stored
        self._notice(stored.record)

    @property
    def previous(self) -> Context | None:
        """The context of the previous attempt, in whichever process it ran; None where it was not traced."""
        execution = self.record.execution
        if execution is None or execution.traceparent is None:
            return None
        return self.context._replace(traceparent=execution.traceparent, tracestate=None)

    def trace(self, span: Span) -> None:
        """Let what the handler makes belong to the span of its attempt."""
        self.span = span
        self.context = span.join(self.context)

    async def begin(self) -> None:
        """Store that a handler begins. Raises as `report`."""
        traceparent = self.context.traceparent if self.span.is_recorded else None
        at = now()
        await self._write(lambda record: changes.begin(record, at=at, traceparent=traceparent))
        self.attempt += 1

    async def report(self, progress: JsonValue) -> None:
        """Store the progress; wait through outages.

        Raises:
            OperationCancelled: the operation was cancelled.
            ExecutionLost: another process runs the operation, or it has ended.
            PayloadTooLarge: the record would not fit into a message.
        """
        at = now()
        await self._write(lambda record: changes.set_progress(record, progress, at=at), keeps_room=True)

    async def report_transfer(self, transfer: JsonValue) -> None:
        """Store how far the upload is; wait through outages. Raises as `report`."""
        at = now()
        await self._write(lambda record: changes.set_transfer(record, transfer, at=at))

    async def store_upload(self, info: JsonValue) -> None:
        """Store which object was uploaded; wait through outages. Raises as `report`."""
        await self._change(
            lambda record: None if _uploaded(record) == info else changes.set_upload(record, info)
        )

    @property
    def uploaded(self) -> JsonValue:
        """The object that was uploaded, also by way of another process; None before."""
        return _uploaded(self.record)

    def close_upload(self) -> None:
        """End the upload. Safe to call twice."""
        if self.upload is not None:
            self.upload.close()

    async def end(self, state: OperationState, **members: JsonValue) -> None:
        """Store the end. Raises as `report`."""
        at = now()
        await self._write(lambda record: changes.end(record, state, at=at, **members))

    async def attach(self, job: _Job) -> None:
        """Store which job the operation follows. Raises as `report`."""
        await self._change(
            lambda record: (
                None
                if record.execution is not None and record.execution.job is not None
                else changes.attach_job(record, queue=job.queue, job_id=job.id)
            )
        )

    async def defer(self) -> None:
        """Store that the operation is left open: this process no longer runs it. Raises as `report`."""
        await self._release(changes.defer)

    async def leave_open(self) -> None:
        """Store that the operation is left open, unless the handler has done so, or follows a job. Raises as `report`."""
        execution = self.record.execution
        if not self._is_released and (execution is None or execution.job is None):
            await self.defer()

    async def release(self) -> None:
        """Store that any process may run the operation. Raises as `report`."""
        await self._release(lambda record: changes.assign(record, None))

    async def signals(self) -> AsyncGenerator[OperationSignal[Any], None]:
        """Yield the signals from the first one on, until the operation is cancelled."""
        position = 0
        while not self.cancelled.is_set():
            self._changed.clear()
            entries = [entry for entry in self.record.signals if entry.sequence > position]
            for entry in entries:
                position = entry.sequence
                signal = self._signals.read(entry)
                if signal is not None:
                    yield signal
            if not entries:
                await self._changed.wait()

    async def _write(self, transition: changes.Transition, *, keeps_room: bool = False) -> None:
        """Store an event."""
        async with self._turn():
            written: OperationRecord | None = None

            def decide(record: OperationRecord) -> OperationRecord | None:
                nonlocal written
                if written is not None and record.snapshot == written.snapshot:
                    return None  # stored before its answer was lost
                self._require_own(record)
                written = transition(record)
                return written

            await self._store_change(decide, keeps_room=keeps_room)

    async def _change(self, transition: Callable[[OperationRecord], OperationRecord | None]) -> None:
        """Store what is not an event."""
        async with self._turn():

            def decide(record: OperationRecord) -> OperationRecord | None:
                self._require_own(record)
                return transition(record)

            await self._store_change(decide)

    async def _release(self, transition: Callable[[OperationRecord], OperationRecord]) -> None:
        """Store that this process no longer runs the operation."""
        async with self._turn():
            tries = 0

            def decide(record: OperationRecord) -> OperationRecord | None:
                nonlocal tries
                tries += 1
                if tries > 1 and not record.has_ended and record.runner != self.runner:
                    return None  # stored before its answer was lost
                self._require_own(record)
                return transition(record)

            await self._store_change(decide)
            self._is_released = True

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """Write one after the other; then take what arrived meanwhile."""
        async with self._writing:
            try:
                yield
            finally:
                arrived, self._arrived = self._arrived, None
                if arrived is not None and arrived.revision > self._stored.revision:
                    self._stored = arrived
                    self._notice(arrived.record)

    async def _store_change(
        self, decide: Callable[[OperationRecord], OperationRecord | None], *, keeps_room: bool = False
    ) -> None:
        def write() -> Awaitable[Stored]:
            return self._store.change(self.record.id, decide, known=self._stored, keeps_room=keeps_room)

        stored = await through_outages(
            self._connection, write, what=f'storing operation {self.record.id} of "{self.spec.name}"'
        )
        if stored.revision > self._stored.revision:
            self._stored = stored
            self._changed.set()  # it may have signals that crossed the write

    def _require_own(self, record: OperationRecord) -> None:
        self._notice(record)
        if self.cancelled.is_set():
            raise OperationCancelled(record.id)
        if self.is_lost or self._is_released:
            raise ExecutionLost

    def _notice(self, record: OperationRecord) -> None:
        """Notice what another process has done to the operation."""
        self._changed.set()
        if record.state is OperationState.CANCELLED:
            self.close_upload()
            if not self.cancelled.is_set():
                self.cancelled.set()
                self.on_cancelled()
        elif not (self.is_lost or self._is_released) and (record.has_ended or record.runner != self.runner):
            self.is_lost = True
            self.close_upload()
            self.on_lost()


def _uploaded(record: OperationRecord) -> JsonValue:
    return None if record.execution is None else record.execution.upload
