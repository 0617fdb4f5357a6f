"""The operation as its handler receives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast, final

from trellis_nats.auth import Caller
from trellis_nats.context import Context
from trellis_nats.errors import ConfigurationError, OperationCancelled
from trellis_nats.operations.execution import OperationExecution

__all__ = ["ActiveOperation", "AttachableJob", "Deferred", "OperationHandler"]

InputT = TypeVar("InputT")
ProgressT = TypeVar("ProgressT")
OutputT = TypeVar("OutputT")
SignalT = TypeVar("SignalT")
ResultT_co = TypeVar("ResultT_co", covariant=True)


@final
class Deferred:
    """What a handler returns that leaves its operation open: `return await operation.defer()`."""


class AttachableJob(Protocol[ResultT_co]):
    """A job whose result is of the operation's type: what `queue.create` and `queue.ref` return."""

    @property
    def id(self) -> str:
        """The job's id."""
        ...

    @property
    def queue(self) -> str:
        """The queue's name in the contract."""
        ...

    async def result(self) -> ResultT_co:
        """Wait until the job ends and return its result."""
        ...


class ActiveOperation(Generic[InputT, ProgressT, OutputT, SignalT]):
    """An operation while its handler runs."""

    def __init__(self, value: InputT, execution: OperationExecution) -> None:
        """Created by the runtime each time a handler begins."""
        self._input = value
        self._execution = execution

    def __repr__(self) -> str:
        return f"<ActiveOperation {self._execution.spec.name} {self.id} attempt {self.attempt}>"

    @property
    def id(self) -> str:
        """The operation's id, a ULID. It stays when the operation is run again: a good idempotency key."""
        return self._execution.record.id

    @property
    def input(self) -> InputT:
        """What the operation was started with."""
        return self._input

    @property
    def context(self) -> Context:
        """The request and trace of the caller. Jobs, calls and events that the handler makes inherit it."""
        return self._execution.context

    @property
    def caller(self) -> Caller | None:
        """The caller that started the operation, also after a restart of the service. None in open mode, which does not know it."""
        return self._execution.caller

    @property
    def attempt(self) -> int:
        """1; more when the operation is run again because the process that ran it ended."""
        return self._execution.attempt

    @property
    def is_cancelled(self) -> bool:
        """Whether the operation was cancelled. What the handler returns or raises then no longer matters."""
        return self.cancelled.is_set()

    @property
    def cancelled(self) -> asyncio.Event:
        """Set when the operation is cancelled: `await operation.cancelled.wait()`."""
        return self._execution.cancelled

    def raise_if_cancelled(self) -> None:
        """Leave the handler if the operation was cancelled.

        Raises:
            OperationCancelled: it was cancelled.
        """
        if self.is_cancelled:
            raise OperationCancelled(self.id)

    async def progress(self, value: ProgressT) -> None:
        """Report progress. It is stored when this returns; every watcher gets it, in order.

        During an outage it waits until the progress is stored.

        Raises:
            OperationCancelled: the operation was cancelled; nothing was stored.
            InvalidPayload: the value does not match its schema.
            PayloadTooLarge: the record of the operation would no longer fit into a message.
            ConfigurationError: the contract declares no progress for the operation.
        """
        self._execution.require_own_loop()
        codec = self._execution.codecs.progress
        if codec is None:
            raise ConfigurationError(
                f'operation "{self._execution.spec.name}" declares no progress in its contract'
            )
        await self._execution.report(codec.to_json(value))

    async def signals(self) -> AsyncGenerator[SignalT, None]:
        """Iterate over the signals, from the first one on, and wait for more. It ends when the operation is cancelled.

        A handler that runs again gets the signals of earlier attempts again.

        Raises:
            InvalidPayload: a stored signal no longer matches its schema.
        """
        self._execution.require_own_loop()
        async for signal in self._execution.signals():
            yield cast("SignalT", signal)

    async def attach(self, job: AttachableJob[OutputT]) -> Deferred:
        """Let the operation end as a job does: `return await operation.attach(ref)`.

        The service follows the job, also after a restart: the handler is not run again. A result completes the
        operation, a cancelled job cancels it, and any other end fails it with an `UnexpectedError`, whose id is in the log.
        Cancelling the operation does not cancel the job: a job that reports with `service.operations.….ref(id).progress(…)` gets
        `OperationAlreadyTerminal` then, and may raise `JobCancelled`.

        Raises:
            OperationCancelled: the operation was cancelled.
        """
        self._execution.require_own_loop()
        await self._execution.attach(cast("AttachableJob[Any]", job))  # Any: a protocol of another result
        return Deferred()

    async def defer(self) -> Deferred:
        """Leave the operation open: `return await operation.defer()`.

        From then on no process runs it. A process of the service ends it with
        `service.operations.….ref(operation_id).complete(…)`, `.fail(…)` or `.cancel()`.

        Raises:
            OperationCancelled: the operation was cancelled.
        """
        self._execution.require_own_loop()
        await self._execution.defer()
        return Deferred()


OperationHandler: TypeAlias = Callable[
    [ActiveOperation[InputT, ProgressT, OutputT, SignalT]], Awaitable[OutputT | Deferred]
]
