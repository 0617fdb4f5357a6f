"""taskiq-nats, in .venv/peers: with_taskiq_nats.py URL JOBS CONCURRENCY.

A pull consumer with batches of 100; the worker is the receiver that `taskiq worker` runs, in this process, with its default of acknowledging
after the result is saved. No result backend, which is the default.
"""

# It runs in .venv/peers only: in the environment of the checkers its imports, and all that comes from them, are unknown.
# pyright: basic, reportMissingImports=false, reportFunctionMemberAccess=false
# mypy: disable-error-code="import-not-found, no-any-return, untyped-decorator"

from __future__ import annotations

import asyncio
from typing import Final

from taskiq.api import run_receiver_task
from taskiq_nats import PullBasedJetStreamBroker
from workload import TEXT, Handled, Rates, measured, report

BATCH: Final = 100
TIMEOUT: Final = 5.0
"""Seconds. Without one, a fetch of a batch waits until there are as many: a job on an idle queue waits for 99 others."""


async def rates(url: str, jobs: int, concurrency: int) -> Rates:
    """Measure."""
    broker = PullBasedJetStreamBroker(url, pull_consume_batch=BATCH, pull_consume_timeout=TIMEOUT)
    broker.is_worker_process = True
    handled = Handled(jobs)

    @broker.task
    async def work(number: int, text: str) -> int:  # noqa: ARG001 - a part of the payload
        handled.count()
        return number

    async def unfinished() -> int:
        info = await broker.js.consumer_info(broker.stream_name, broker.durable)
        return info.num_pending + info.num_ack_pending

    await broker.startup()
    working: list[asyncio.Task[None]] = []

    async def start() -> None:
        receiver = run_receiver_task(broker, max_async_tasks=concurrency, max_prefetch=BATCH)
        working.append(asyncio.create_task(receiver))

    try:
        return await measured(
            jobs,
            handled=handled,
            create=lambda number: work.kiq(number, text=TEXT),
            start=start,
            unfinished=unfinished,
        )
    finally:
        for task in working:
            task.cancel()
        await asyncio.wait(working)
        await broker.shutdown()


if __name__ == "__main__":
    report(rates)
