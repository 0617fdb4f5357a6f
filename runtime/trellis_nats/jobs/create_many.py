"""Creates many jobs of a queue at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

from trellis_nats._nats.jetstream.batch import BATCH_MAX
from trellis_nats._tracing.descriptions import BATCH_SIZE
from trellis_nats._tracing.span import Span
from trellis_nats.errors import TrellisError
from trellis_nats.jobs.model.creation import require_payload
from trellis_nats.jobs.model.event import NewEvent
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.work.queue_context import QueueContext

__all__ = ["create_many"]


async def create_many(
    context: QueueContext[PayloadT, ResultT, UpdateT],
    payloads: Iterable[PayloadT],
    make: Callable[[bytes], NewEvent],
    span: Span,
) -> list[str]:
    """Create a job for each payload, and return their ids. Raises as `JobQueue.create_many`.

    The events of a batch are made while the server stores the batch before it, and only then.

    Args:
        context: the queue.
        payloads: all are validated before the first job is stored.
        make: makes the `created` event of a job with a payload, which is JSON text.
        span: that of the call.
    """
    texts = [context.payload.encode(payload) for payload in payloads]
    for text in texts:
        require_payload(text, context.queue)
    span.set(BATCH_SIZE, len(texts))
    ids: list[str] = []

    def make_batches() -> Iterator[Sequence[NewEvent]]:
        for start in range(0, len(texts), BATCH_MAX):
            events = [make(text) for text in texts[start : start + BATCH_MAX]]
            ids.extend(event.job_id for event in events)
            yield events

    stored = 0

    def count_stored(jobs: int) -> None:
        nonlocal stored
        stored += jobs

    try:
        if context.keys is None:
            await context.batches.create(make_batches(), count_stored)
        else:
            every = [event for events in make_batches() for event in events]
            await context.keys.creator.create_many(every, context.batches, count_stored)
    except TrellisError as error:
        if stored:
            error.add_note(f"the first {stored:,} of {len(texts):,} jobs are stored")
        raise
    except asyncio.CancelledError as error:
        following = min(BATCH_MAX, len(texts) - stored)
        error.add_note(f"{stored:,} of {len(texts):,} jobs are stored, and the next {following:,} may be")
        raise
    return ids
