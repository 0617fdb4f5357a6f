"""A registered handler and its options: `async def` or plain `def`, concurrency, timeout."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, cast

from trellis_nats._support.callables import describe_callable, find_parameter_problem, is_coroutine_function
from trellis_nats._support.threads import run_in_thread
from trellis_nats.errors import ConfigurationError
from trellis_nats.errors.configuration import require_timedelta
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.work.active_job import ActiveJob

__all__ = ["AsyncHandler", "Handler", "HandlerRegistration", "register", "task_name"]


AsyncHandler = Callable[[ActiveJob[PayloadT, ResultT, UpdateT]], Awaitable[ResultT]]
"""A handler that runs on the event loop."""

Handler = Callable[[ActiveJob[PayloadT, ResultT, UpdateT]], Awaitable[ResultT] | ResultT]
"""A handler: an `async def`, or a plain `def`, which runs in a thread."""


@dataclass(frozen=True, slots=True)
class HandlerRegistration(Generic[PayloadT, ResultT, UpdateT]):
    """A handler, ready to be awaited."""

    call: AsyncHandler[PayloadT, ResultT, UpdateT]
    concurrency: int | None
    """How many run at a time in this process; None for the contract's number."""
    timeout: timedelta | None
    """How long one may run; None for no limit."""
    is_thread: bool = False
    """Whether it runs in a thread, which cannot be cancelled."""


def register(
    queue: str,
    handler: Handler[PayloadT, ResultT, UpdateT],
    *,
    concurrency: int | None,
    timeout: timedelta | None,
) -> HandlerRegistration[PayloadT, ResultT, UpdateT]:
    """Check a handler and its options, and return what is awaited for each job.

    Raises:
        ConfigurationError: it cannot be called, a number is not positive, or a plain `def` has a timeout.
    """
    if not callable(handler):
        raise ConfigurationError(
            f'queue "{queue}": the handler {describe_callable(handler)} cannot be called'
        )
    problem = find_parameter_problem(handler, "job")
    if problem is not None:
        raise ConfigurationError(f'queue "{queue}": the handler {describe_callable(handler)} {problem}')
    is_whole = isinstance(concurrency, int)  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
    if concurrency is not None and (not is_whole or concurrency < 1):
        raise ConfigurationError(
            f'queue "{queue}": concurrency must be a whole number, and at least 1, got {concurrency!r}'
        )
    require_timedelta(f'queue "{queue}": timeout', timeout)
    if timeout is not None and timeout <= timedelta(0):
        raise ConfigurationError(f'queue "{queue}": a timeout must be positive, got {timeout}')
    if is_coroutine_function(handler):
        return HandlerRegistration(
            cast("AsyncHandler[PayloadT, ResultT, UpdateT]", handler), concurrency, timeout
        )
    if timeout is not None:
        raise ConfigurationError(
            f'queue "{queue}": a thread cannot be stopped, so a timeout needs an `async def` handler'
        )
    # Any: a lambda or a decorator around an `async def` cannot be told from a plain `def` before it is called.
    plain = cast("Callable[[ActiveJob[PayloadT, ResultT, UpdateT]], Any]", handler)

    async def call(job: ActiveJob[PayloadT, ResultT, UpdateT]) -> ResultT:
        returned = await run_in_thread(plain, job, name=task_name(job))
        result: ResultT = await returned if inspect.isawaitable(returned) else returned
        return result

    return HandlerRegistration(call, concurrency, timeout, is_thread=True)


def task_name(job: ActiveJob[PayloadT, ResultT, UpdateT]) -> str:
    """Return the name of the task, or the thread, that runs the handler of a job."""
    return f"job {job.queue} {job.id}"
