"""A caller's handle on one operation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from trellis_nats._nats.outages import through_outages
from trellis_nats._tracing.span import Span
from trellis_nats.clock import parse_timestamp
from trellis_nats.errors import InvalidPayload
from trellis_nats.errors.configuration import require_timedelta
from trellis_nats.operations.frames import (
    ControlRequest,
    EventFrame,
    InterruptedFrame,
    SignalAcceptedFrame,
    SnapshotFrame,
)
from trellis_nats.operations.link import OperationLink, WatchFrames, WatchLost
from trellis_nats.operations.model.record import SnapshotRecord
from trellis_nats.operations.model.states import UpdateType
from trellis_nats.operations.snapshot import OperationSnapshot, OperationUpdate
from trellis_nats.specs import OperationSignal

__all__ = ["OperationRun", "SignalAccepted", "SignalCall"]

ProgressT = TypeVar("ProgressT")
OutputT = TypeVar("OutputT")
SignalInputT = TypeVar("SignalInputT")

_PAUSE = 0.1
"""Seconds before a watch that the service ended is opened again."""


class OperationRun(Generic[ProgressT, OutputT]):
    """A handle on one operation. It holds no resources; `….ref(operation_id)` returns one for any operation."""

    def __init__(self, link: OperationLink, operation_id: str) -> None:
        """Created by `start` and `ref`."""
        self._link = link
        self._id = operation_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._link.spec.name} {self._id}>"

    @property
    def id(self) -> str:
        """The operation's id, a ULID. Store it to find the operation again: `….ref(operation_id)`."""
        return self._id

    async def get(self, *, timeout: timedelta | None = None) -> OperationSnapshot[ProgressT, OutputT]:
        """Return the operation as it stands now.

        Raises:
            OperationNotFound: the service has no operation with this id.
            OperationMismatch: the id belongs to another operation of the contract.
            AuthError: the caller may not do this.
            NoResponders: no process serves the operation.
            RequestTimeout: no answer came in time.
            TransportError: NATS could not send the request.
        """
        require_timedelta("timeout", timeout)
        frame = await self._link.control_snapshot(
            ControlRequest(action="get", operation_id=self._id), timeout
        )
        return self._snapshot(frame.snapshot)

    async def result(self, *, timeout: timedelta | None = None) -> OutputT:
        """Wait until the operation ends, and return its result.

        Outages and restarts of the service do not end the wait, however long they are.

        Args:
            timeout: how long to wait. The default is to wait as long as the operation takes.

        Raises:
            DeclaredError: the handler raised one of the errors of its contract; as the generated class.
            ValidationError: the handler returned an invalid result, or raised this error.
            UnexpectedError: the handler failed; the service's log has the details under the error's id.
            OperationCancelled: the operation was cancelled.
            OperationInterrupted: the process that ran it ended; part of the work may be done.
            OperationNotFound: the service has no operation with this id.
            RpcError: the service refuses the request, or the handler failed with another error.
            InvalidPayload: the result does not match its schema.
            TimeoutError: `timeout` passed first; the operation continues.
            NotConnected: the client was closed.
        """
        require_timedelta("timeout", timeout)
        async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
            async with aclosing(self.watch()) as updates:
                async for update in updates:
                    if update.snapshot.is_terminal:
                        return update.snapshot.output
        raise InvalidPayload(f"operation {self._id}", [("#", "the watch ended before the operation")])

    async def watch(self) -> AsyncGenerator[OperationUpdate[ProgressT, OutputT], None]:
        """Iterate over what happens to the operation; the iteration ends with the operation.

            async for update in run.watch():
                print(update.type, update.snapshot.progress)

        The first update is a `snapshot`: how the operation stands when watching begins. No event after it is missed or
        repeated, through lost connections and restarts of the service, as long as no more than four follow each other
        while the watcher is away; where more do, `sequence` shows it, and the newest state is never missed.

        Raises:
            OperationNotFound: the service has no operation with this id.
            OperationMismatch: the id belongs to another operation of the contract.
            RpcError: the service refuses the request.
            InvalidPayload: a frame is malformed.
            NotConnected: the client was closed.
        """
        self._link.require_own_loop()
        seen: int | None = None
        with self._link.trace_watch() as span:
            while True:
                async with AsyncExitStack() as stack:
                    frames = await self._open(stack, seen, span)
                    try:
                        async for update in self._follow(frames, seen):
                            seen = update.sequence
                            yield update
                            if update.snapshot.is_terminal:
                                return
                    except WatchLost:
                        pass
                await asyncio.sleep(_PAUSE)

    async def cancel(self, *, timeout: timedelta | None = None) -> OperationSnapshot[ProgressT, OutputT]:
        """Cancel the operation, and return it as it stands then.

        It has ended when this returns. A handler that runs sees `operation.is_cancelled`; what it
        returns no longer matters.

        Raises:
            ValidationError: the contract does not let callers cancel this operation.
            OperationAlreadyTerminal: it has ended.
            OperationNotFound: the service has no operation with this id.
            AuthError: the caller may not do this.
            NoResponders: no process serves the operation.
            RequestTimeout: no answer came in time; it may be cancelled.
            TransportError: NATS could not send the request.
        """
        require_timedelta("timeout", timeout)
        asked = ControlRequest(action="cancel", operation_id=self._id)
        return self._snapshot((await self._link.control_snapshot(asked, timeout)).snapshot)

    async def send_signal(
        self,
        signal: type[OperationSignal[SignalInputT]],
        value: SignalInputT,
        *,
        timeout: timedelta | None = None,
    ) -> SignalAccepted:
        """Send a signal by its class; `run.signal.<name>(…)` does the same. Raises as `SignalCall`."""
        require_timedelta("timeout", timeout)
        asked = ControlRequest(
            action="signal",
            operation_id=self._id,
            signal=signal.name,
            input=self._link.encode_signal(signal, value),
        )
        frame = await self._link.control(asked, timeout)
        if not isinstance(frame, SignalAcceptedFrame):
            raise InvalidPayload("the answer to a signal", [("#", "it does not accept the signal")])
        return SignalAccepted(sequence=frame.sequence, accepted_at=parse_timestamp(frame.accepted_at))

    async def _open(self, stack: AsyncExitStack, seen: int | None, span: Span) -> WatchFrames:
        """Open a watch; repeat that until a process serves it."""
        asked = ControlRequest(action="watch", operation_id=self._id, after=seen)
        while True:
            try:
                return await through_outages(
                    self._link.connection,
                    lambda: stack.enter_async_context(self._link.watch(asked, span)),
                    what=f"watching operation {self._id}",
                )
            except WatchLost:
                continue

    async def _follow(
        self, frames: WatchFrames, seen: int | None
    ) -> AsyncGenerator[OperationUpdate[ProgressT, OutputT], None]:
        """Yield what is new in the frames of one watch."""
        while True:
            frame = await frames.take()
            match frame:
                case SnapshotFrame(snapshot=snapshot, missed=missed):
                    if missed or (seen is not None and snapshot.revision - 1 <= seen):
                        continue  # the events that led there follow, or are known
                    seen = snapshot.revision - 1
                    yield self._update("snapshot", seen, snapshot)
                case EventFrame(sequence=sequence, event_type=event_type, snapshot=snapshot):
                    if seen is None or sequence > seen:
                        seen = sequence
                        yield self._update(event_type, sequence, snapshot)
                case InterruptedFrame():
                    raise WatchLost
                case None if frames.has_keepalive or await self._is_behind(seen):
                    raise WatchLost
                case _:
                    continue

    async def _is_behind(self, seen: int | None) -> bool:
        """Return whether the operation has gone on. A service of another runtime is silent while nothing happens."""
        snapshot = await through_outages(
            self._link.connection, self.get, what=f"reading operation {self._id}"
        )
        return seen is None or snapshot.revision - 1 > seen

    def _update(
        self, update_type: UpdateType, sequence: int, snapshot: SnapshotRecord
    ) -> OperationUpdate[ProgressT, OutputT]:
        return OperationUpdate(update_type, sequence, self._snapshot(snapshot))

    def _snapshot(self, record: SnapshotRecord) -> OperationSnapshot[ProgressT, OutputT]:
        return OperationSnapshot(record, self._link.codecs)


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalAccepted:
    """The service has stored a signal. Its handler gets it, even if another process runs the operation by then."""

    sequence: int
    """Counts the signals of the operation, from 1."""
    accepted_at: datetime


class SignalCall(Generic[SignalInputT]):
    """A signal to be sent to one operation."""

    def __init__(self, run: OperationRun[Any, Any], signal: type[OperationSignal[SignalInputT]]) -> None:
        """Created by the generated package."""
        self._run = run
        self._signal = signal

    async def __call__(self, value: SignalInputT, *, timeout: timedelta | None = None) -> SignalAccepted:
        """Send the signal; return when it is stored.

        Raises:
            InvalidPayload: the input does not match its schema, and nothing was sent.
            ValidationError: the service rejects the signal; or the operation has accepted 256, which is the limit.
            OperationAlreadyTerminal: the operation has ended.
            OperationNotFound: the service has no operation with this id.
            AuthError: the caller may not do this.
            NoResponders: no process serves the operation.
            RequestTimeout: no answer came in time; the signal may be stored.
            TransportError: NATS could not send the request.
        """
        return await self._run.send_signal(self._signal, value, timeout=timeout)
