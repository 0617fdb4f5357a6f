"""The binding of a queue when no control plane gives one."""

from __future__ import annotations

from trellis_nats.binding import JobsBinding, KeyBinding, KeyQueueBinding, QueueBinding
from trellis_nats.clock import to_milliseconds
from trellis_nats.ids import require_token
from trellis_nats.jobs.model.subjects import (
    EVENTS_PREFIX,
    UPDATES_PREFIX,
    WORK_PREFIX,
    WORK_STREAM,
)
from trellis_nats.specs import JobSpec, KeySpec

__all__ = ["local_queue"]


def local_queue(service: str, spec: JobSpec) -> JobsBinding:
    """Return the binding of a service that has this queue only.

    Raises:
        ConfigurationError: the name of the queue is not valid in a subject.
    """
    return JobsBinding(
        namespace=service, work_stream=WORK_STREAM, queues={spec.name: _queue_binding(service, spec)}
    )


def _queue_binding(service: str, spec: JobSpec) -> QueueBinding:
    queue = require_token("queue", spec.name)
    return QueueBinding(
        queue_type=queue,
        publish_prefix=f"{EVENTS_PREFIX}.{service}.{queue}",
        work_subject=f"{WORK_PREFIX}.{service}.{queue}",
        consumer_name=f"{service}__{queue}",
        updates_prefix=None if spec.update is None else f"{UPDATES_PREFIX}.{service}.{queue}",
        max_deliver=spec.max_deliver,
        backoff_ms=tuple(map(to_milliseconds, spec.backoff)),
        ack_wait_ms=to_milliseconds(spec.ack_wait),
        default_deadline_ms=None if spec.default_deadline is None else to_milliseconds(spec.default_deadline),
        concurrency=spec.concurrency,
        progress=spec.progress,
        logs=spec.logs,
        key_concurrency=None if spec.key is None else _key_binding(spec.key),
        queue=None
        if spec.key is None
        else KeyQueueBinding(max_queued_per_key=spec.key.max_queued, when_full=spec.key.when_full),
    )


def _key_binding(spec: KeySpec) -> KeyBinding:
    return KeyBinding(
        key=spec.template,
        max_active=spec.max_active,
        heartbeat_interval_ms=None
        if spec.heartbeat_interval is None
        else to_milliseconds(spec.heartbeat_interval),
        heartbeat_ttl_ms=None if spec.lease is None else to_milliseconds(spec.lease),
        stale_policy=spec.stale_policy,
    )
