"""A service whose handlers do what a test tells them to, however large or odd that is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import ClassVar, Final

from trellis_nats import (
    RUNTIME_API,
    ActiveJob,
    Contract,
    JobQueue,
    Jobs,
    JobSpec,
    Model,
    Runtime,
    Service,
)

__all__ = ["TRIES", "Press", "PressJob", "Sheet", "pressing"]

TRIES: Final = 2


class Sheet(Model):
    """A payload, a result and an update."""

    text: str


PressJob = ActiveJob[Sheet, Sheet, Sheet]


class PressQueue(JobQueue[Sheet, Sheet, Sheet]):
    """Tried twice, with hardly a wait."""

    spec: ClassVar[JobSpec] = JobSpec(
        name="press",
        payload=Sheet,
        result=Sheet,
        update=Sheet,
        max_deliver=TRIES,
        backoff=(timedelta(milliseconds=10),),
        ack_wait=timedelta(seconds=1),
    )


class PressJobs(Jobs):
    """The queues."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.press: Final = PressQueue(runtime)


class Press(Service):
    """The service."""

    contract: ClassVar[Contract] = Contract(
        id="press@v1", digest="p" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs: Final = PressJobs(runtime)


async def pressing(press: Press, odd: Callable[[PressJob], Awaitable[Sheet]]) -> None:
    """Work the queue: a job whose text is `plain` returns at once, every other one does something odd."""

    @press.jobs.press.handle(concurrency=2)
    async def work(job: PressJob) -> Sheet:
        return Sheet(text="done") if job.payload.text == "plain" else await odd(job)

    await press.jobs.start_workers()
