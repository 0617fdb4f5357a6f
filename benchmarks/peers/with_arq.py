"""arq on Redis, in .venv/peers: with_arq.py URL JOBS CONCURRENCY.

Its defaults (results kept for an hour), except `max_jobs` and the delay between two looks into the queue.
"""

# It runs in .venv/peers only: in the environment of the checkers its imports, and all that comes from them, are unknown.
# pyright: basic, reportMissingImports=false
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from arq.connections import RedisSettings, create_pool
from arq.worker import Worker
from workload import TEXT, Handled, Rates, measured, report

POLL_DELAY: Final = 0.0005
"""Seconds. The default is half a second, in which `max_jobs` begin at most; of 0.5 to 10 ms this was the fastest."""


async def rates(url: str, jobs: int, concurrency: int) -> Rates:
    """Measure."""
    pool = await create_pool(RedisSettings.from_dsn(url))
    handled = Handled(jobs)

    async def work(context: dict[str, object], number: int, text: str) -> int:  # noqa: ARG001 - arq's signature
        handled.count()
        return number

    worker = Worker(
        [work], redis_pool=pool, max_jobs=concurrency, poll_delay=POLL_DELAY, handle_signals=False
    )
    working: list[asyncio.Task[None]] = []

    async def start() -> None:
        working.append(asyncio.create_task(worker.async_run()))

    try:
        return await measured(
            jobs,
            handled=handled,
            create=lambda number: pool.enqueue_job(work.__qualname__, number, text=TEXT),
            start=start,
            unfinished=lambda: pool.zcard(worker.queue_name),
        )
    finally:
        for task in working:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await worker.close()


if __name__ == "__main__":
    report(rates)
