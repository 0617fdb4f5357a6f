"""FastStream on JetStream, in .venv/peers: with_faststream.py URL JOBS CONCURRENCY.

A durable pull consumer with `max_workers` of the concurrency. Without `max_workers` a pull subscriber handles a whole
batch at once: for a concurrency of one, the batch is one.
"""

# It runs in .venv/peers only: in the environment of the checkers its imports, and all that comes from them, are unknown.
# pyright: basic, reportMissingImports=false
# mypy: disable-error-code="import-not-found, no-any-return, untyped-decorator"

from __future__ import annotations

from typing import Final

from faststream.nats import JStream, NatsBroker, PullSub
from workload import TEXT, Handled, Rates, measured, report

BATCH: Final = 100
STREAM: Final = "BENCH"
SUBJECT: Final = "bench.work"
DURABLE: Final = "work"


async def rates(url: str, jobs: int, concurrency: int) -> Rates:
    """Measure."""
    broker = NatsBroker(url, logger=None)
    handled = Handled(jobs)

    @broker.subscriber(
        SUBJECT,
        stream=JStream(STREAM, subjects=[SUBJECT], declare=False),
        durable=DURABLE,
        pull_sub=PullSub(batch_size=1 if concurrency == 1 else BATCH),
        max_workers=concurrency,
    )
    async def work(number: int, text: str) -> int:  # noqa: ARG001 - a part of the payload
        handled.count()
        return number

    client = await broker.connect()
    stream = client.jetstream()
    await stream.add_stream(name=STREAM, subjects=[SUBJECT])

    async def unfinished() -> int:
        info = await stream.consumer_info(STREAM, DURABLE)
        return info.num_pending + info.num_ack_pending

    try:
        return await measured(
            jobs,
            handled=handled,
            create=lambda number: broker.publish({"number": number, "text": TEXT}, SUBJECT, stream=STREAM),
            start=broker.start,
            unfinished=unfinished,
        )
    finally:
        await broker.stop()


if __name__ == "__main__":
    report(rates)
