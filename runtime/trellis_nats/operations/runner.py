"""Runs the operations of one kind in this process: a bounded number at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from pydantic import JsonValue

from trellis_nats._calls.error_codec import invalid_response
from trellis_nats._calls.incoming import IncomingCall
from trellis_nats._calls.replies import ErrorReplies, Reply
from trellis_nats._support.cancellation import is_cancelled
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.plural import plural
from trellis_nats._tracing.descriptions import describe_operation_attempt
from trellis_nats.codec import decode_json
from trellis_nats.context import enter
from trellis_nats.errors import (
    InvalidPayload,
    JobCancelled,
    OperationCancelled,
    OperationInterrupted,
    PayloadTooLarge,
    TransportError,
    UnexpectedError,
)
from trellis_nats.operations.active import ActiveOperation, Deferred
from trellis_nats.operations.attempt_span import trace_attempt
from trellis_nats.operations.execution import ExecutionLost, OperationExecution, Upload
from trellis_nats.operations.model.record import JobAttachment
from trellis_nats.operations.model.states import OperationState, ResumePolicy
from trellis_nats.operations.store import Stored
from trellis_nats.specs import OperationSpec

__all__ = ["OperationRunner", "RegisteredOperation", "Uploads"]

_log = logging.getLogger(__name__)

_WAITING_MAX: Final = 1000
"""How many operations of one kind wait for a handler, or follow a job, in addition to those that run."""
_UNWIND_SECONDS: Final = 5.0


class Uploads(Protocol):
    """The uploads of one operation in this process."""

    def open(self, value: JsonValue, call: IncomingCall) -> Upload:
        """Grant an upload to the caller that starts an operation with `value`; it was checked.

        Raises:
            InvalidPayload: the value does not name an object as the contract says.
            TransferError: too many uploads are open.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredOperation:
    """A handler with what its registration says."""

    handler: Callable[[Any], Awaitable[object]]  # Any: the spec says which types
    resume: ResumePolicy
    concurrency: int
    """How many handlers run at a time in this process."""
    active: type[ActiveOperation[Any, Any, Any, Any]] = ActiveOperation
    """The class of what the handler receives."""
    uploads: Uploads | None = None
    """Grants uploads to callers; None where the contract declares no transfer."""


class OperationRunner:
    """The operations of one kind that this process runs."""

    def __init__(
        self,
        spec: OperationSpec,
        registered: RegisteredOperation,
        errors: ErrorReplies,
        *,
        follow_job: Callable[[JobAttachment], Awaitable[object]],
        is_leased: Callable[[str], bool],
    ) -> None:
        self.spec = spec
        self.resume: ResumePolicy = registered.resume
        self._registered = registered
        self._errors = errors
        self._follow_job = follow_job
        self._is_leased = is_leased
        self._description = describe_operation_attempt(spec.name)
        self._slots = asyncio.Semaphore(registered.concurrency)
        self._executions: dict[str, OperationExecution] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._in_handler: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    @property
    def is_full(self) -> bool:
        """Whether no further operation may be accepted in this process."""
        return self._is_stopping or len(self._tasks) >= self._registered.concurrency + _WAITING_MAX

    @property
    def is_handling(self) -> bool:
        """Whether a handler runs in this process, or is about to. An operation that follows a job has none any more."""
        executions = (execution.record.execution for execution in self._executions.values())
        return any(execution is not None and execution.job is None for execution in executions)

    def __contains__(self, operation_id: object) -> bool:
        return operation_id in self._tasks

    def run(self, execution: OperationExecution) -> None:
        """Run an operation, or follow the job that it is attached to; return at once."""
        operation_id = execution.record.id
        task = asyncio.create_task(self._run(execution), name=f"operation {self.spec.name} {operation_id}")
        execution.on_lost = task.cancel
        self._executions[operation_id] = execution
        self._tasks[operation_id] = task
        task.add_done_callback(partial(self._on_ended, operation_id))

    def receive(self, stored: Stored) -> None:
        """Pass on a record that this or another process has stored."""
        execution = self._executions.get(stored.record.id)
        if execution is not None:
            execution.receive(stored)

    def interrupt(self) -> None:
        """Cancel the handlers: other processes may run the operations now."""
        for operation_id, task in self._tasks.items():
            self._executions[operation_id].is_lost = True
            task.cancel()

    async def stop(self, grace: GracePeriod) -> None:
        """Let handlers that run end within the grace period, then cancel them; other processes take what has not begun."""
        self._is_stopping = True
        for operation_id, task in list(self._tasks.items()):
            if task not in self._in_handler:
                self._tasks[operation_id].cancel()
        await grace.wait(self._in_handler)
        for task in self._in_handler:
            task.cancel()
        tasks = set(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=_UNWIND_SECONDS)
        if self._in_handler:
            _log.error(
                'operation "%s": %s did not end within %g s after their cancellation',
                self.spec.name,
                plural(len(self._in_handler), "handler"),
                _UNWIND_SECONDS,
                extra=log_fields(LogEvent.HANDLER_STUCK, operation=self.spec.name),
            )

    async def _run(self, execution: OperationExecution) -> None:
        enter(execution.context)  # the task's own context: what the handler makes inherits it
        try:
            if execution.record.execution is None or execution.record.execution.job is None:
                async with self._slots:
                    await self._handle(execution)
            if execution.record.execution is not None and execution.record.execution.job is not None:
                await self._follow(execution, execution.record.execution.job)
        except (ExecutionLost, OperationCancelled):
            self._log_dropped(execution)
        except asyncio.CancelledError:
            if execution.is_lost or execution.cancelled.is_set():
                self._log_dropped(execution)
            else:
                await self._release(execution)

    async def _handle(self, execution: OperationExecution) -> None:
        task = asyncio.current_task()
        if task is None or self._is_stopping:
            raise asyncio.CancelledError
        if not self._is_leased(execution.runner):
            raise ExecutionLost  # another process may take it, or this one again
        with trace_attempt(execution, self._description):
            await execution.begin()
            self._in_handler.add(task)
            try:
                state, members = await self._call_handler(execution)
            finally:
                self._in_handler.discard(task)
            if state is not None:
                await self._end(execution, state, members)

    async def _call_handler(
        self, execution: OperationExecution
    ) -> tuple[OperationState | None, dict[str, Any]]:  # Any: JSON
        """Run the handler, and return how the operation ends. None: it stays open, or its end is stored already."""
        call = _call_of(execution)
        try:
            stored = execution.record.execution
            value = execution.codecs.input.from_json(None if stored is None else stored.input)
            result = await self._registered.handler(self._registered.active(value, execution))
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            return _failed(self._errors.reply_to_failure(call, UnexpectedError(), cause=error))
        except ExecutionLost:
            raise
        except OperationCancelled:
            return OperationState.CANCELLED, {}
        except BaseExceptionGroup as error:
            if is_cancelled():
                raise asyncio.CancelledError from error
            return _failed(self._errors.reply_to_exception(call, error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is an outcome
            return _failed(self._errors.reply_to_exception(call, error))
        if isinstance(result, Deferred):
            await execution.leave_open()
            return None, {}
        return self._completed(execution, result)

    def _completed(
        self, execution: OperationExecution, result: object
    ) -> tuple[OperationState, dict[str, Any]]:  # Any: JSON
        try:
            return OperationState.COMPLETED, {"output": execution.codecs.output.to_json(result)}
        except InvalidPayload as error:
            call = _call_of(execution)
            return _failed(self._errors.reply_to_failure(call, invalid_response(error.issues), cause=error))

    async def _follow(self, execution: OperationExecution, job: JobAttachment) -> None:
        """End the operation as its job ends."""
        call = _call_of(execution)
        execution.on_cancelled = execution.on_lost
        if execution.cancelled.is_set():
            raise OperationCancelled(execution.record.id)
        try:
            state, members = self._completed(execution, await self._follow_job(job))
        except JobCancelled:
            state, members = OperationState.CANCELLED, {}
        except TransportError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the job ended with fails the operation
            state, members = _failed(self._errors.reply_to_failure(call, UnexpectedError(), cause=error))
        await self._end(execution, state, members)

    async def _end(
        self,
        execution: OperationExecution,
        state: OperationState,
        members: dict[str, Any],  # Any: JSON
    ) -> None:
        try:
            await execution.end(state, **members)
        except PayloadTooLarge as error:
            reply = self._errors.reply_to_failure(_call_of(execution), UnexpectedError(), cause=error)
            await execution.end(*_failed(reply)[:1], **_failed(reply)[1])

    async def _release(self, execution: OperationExecution) -> None:
        """The service stops: let another process run the operation, or end it where no process may."""
        record = execution.record
        has_begun = record.state is OperationState.RUNNING
        is_attached = record.execution is not None and record.execution.job is not None
        try:
            if has_begun and not is_attached and self.resume == "fail":
                await self.fail_interrupted(execution)
            else:
                await execution.release()
        except (ExecutionLost, OperationCancelled, TransportError) as error:
            _log.debug(
                'operation "%s": %s was not released: %s',
                self.spec.name,
                record.id,
                error,
                extra=self._log_fields(LogEvent.OPERATION_DROPPED, execution),
            )

    async def fail_interrupted(self, execution: OperationExecution) -> None:
        """End an operation whose handler was interrupted and must not run again. Raises as `OperationExecution.end`."""
        error = OperationInterrupted(
            f"the process that ran operation {execution.record.id} ended; part of the work may be done"
        )
        _log.warning(
            'operation "%s": %s failed: the process that ran it ended, and its handler is not registered with '
            'resume="run-again"',
            self.spec.name,
            execution.record.id,
            extra=self._log_fields(LogEvent.OPERATION_INTERRUPTED, execution),
        )
        state, members = _failed(self._errors.reply_to_known(_call_of(execution), error))
        await execution.end(state, **members)

    def _log_dropped(self, execution: OperationExecution) -> None:
        _log.info(
            'operation "%s": %s was cancelled, or runs elsewhere now; its handler\'s outcome does not count',
            self.spec.name,
            execution.record.id,
            extra=self._log_fields(LogEvent.OPERATION_DROPPED, execution),
        )

    def _log_fields(self, event: LogEvent, execution: OperationExecution) -> dict[str, object]:
        return log_fields(
            event,
            operation=self.spec.name,
            operation_id=execution.record.id,
            trace_id=execution.context.trace_id,
        )

    def _on_ended(self, operation_id: str, task: asyncio.Task[None]) -> None:
        execution = self._executions.pop(operation_id)
        execution.close_upload()
        self._tasks.pop(operation_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error(
                'operation "%s": internal error while running %s',
                self.spec.name,
                operation_id,
                exc_info=error,
                extra=self._log_fields(LogEvent.INTERNAL_ERROR, execution),
            )


def _call_of(execution: OperationExecution) -> IncomingCall:
    """Return the call that started an operation, as error replies describe it."""
    return IncomingCall(
        data=b"",
        headers={},
        reply_subject="",
        carried=execution.context,
        timeout=None,
        deadline=None,
        span=execution.span,
        operation_id=execution.record.id,
    )


def _failed(reply: Reply) -> tuple[OperationState, dict[str, Any]]:  # Any: JSON
    return OperationState.FAILED, {"error": decode_json(reply.data)}
