"""What a small service needs on the server, as its surfaces would require it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from trellis_nats.binding import JobsBinding, KeyBinding, QueueBinding
from trellis_nats.events.subjects import EVENT_STREAM
from trellis_nats.jobs.model.job_streams import job_requirements, work_consumer
from trellis_nats.provision import BucketRequirement, ConsumerRequirement, Requirement

__all__ = ["BUCKET", "JOBS", "NEEDS", "work_consumer_of"]

_KEYED: Final = QueueBinding(
    queue_type="ship",
    publish_prefix="trellis.jobs.shop.ship",
    work_subject="trellis.work.shop.ship",
    consumer_name="shop__ship",
    key_concurrency=KeyBinding(key=("/number",)),
)
"""It makes the bucket of the keys necessary."""
JOBS: Final = JobsBinding(namespace="shop", work_stream="JOBS_WORK", queues={"ship": _KEYED})
BUCKET: Final = BucketRequirement(bucket="shop", history=2, ttl=timedelta(hours=1), max_value_bytes=1000)


def work_consumer_of(
    name: str = "shop__pack",
    *,
    filters: str = "trellis.work.shop.pack",
    ack_wait: timedelta = timedelta(seconds=30),
) -> ConsumerRequirement:
    """Return the consumer of a queue."""
    queue = QueueBinding(
        queue_type="pack",
        publish_prefix="trellis.jobs.shop.pack",
        work_subject=filters,
        consumer_name=name,
        ack_wait_ms=round(ack_wait.total_seconds() * 1000),
    )
    return work_consumer(JOBS.work_stream, queue)


NEEDS: Final[tuple[Requirement, ...]] = (*job_requirements(JOBS), work_consumer_of(), EVENT_STREAM, BUCKET)
