"""A server as a control plane sets it up for a service: what is in its binding, and the grants of its session (reference, 12.2)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from pydantic import JsonValue
from trellis_nats import Binding, Permissions
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import create_consumer, create_stream
from trellis_nats.binding import GroupBinding, JobsBinding, StoreBinding
from trellis_nats.provision import BucketRequirement
from trellis_nats.provision.requirements import StoreRequirement

__all__ = ["create_job_resources", "create_resources", "grants_of_service", "job_lines"]

_MILLISECOND: Final = 1_000_000


def grants_of_service(
    binding: Binding, *, key: str, serves: tuple[str, ...], publishes: tuple[str, ...]
) -> Permissions:
    """Return what the session of a service may do, and nothing else.

    Args:
        binding: its names.
        key: the first 16 characters of its session key.
        serves: the subjects of its RPCs, feeds and operations.
        publishes: the subjects of events that it may publish.
    """
    publish = ["$JS.API.INFO", *publishes]
    subscribe = [f"_INBOX.{key}.>", *serves, *publishes]
    subscribe += [f"transfer.v1.{folder}.{key}.*" for folder in ("upload", "download")]
    if binding.jobs is not None:
        publish += job_lines(binding.jobs)
        for queue in binding.jobs.queues.values():
            subscribe += [f"{queue.publish_prefix}.*.*", f"{queue.publish_prefix}.*.cancelled"]
    for bucket in binding.kv.values():
        publish += _bucket_lines(bucket.bucket)
    own = f"trellis_operations_{key}"
    publish += [*_bucket_lines(own), f"$JS.API.STREAM.CREATE.KV_{own}"]
    for store in binding.store.values():
        publish += _store_lines(store.name)
    for group in binding.event_consumers.values():
        publish += _group_lines(group)
    return Permissions(
        publish=tuple(publish), subscribe=tuple(subscribe), allow_responses=timedelta(minutes=2)
    )


def job_lines(jobs: JobsBinding) -> Iterator[str]:
    """Yield what a service may publish to for its queues."""
    yield f"trellis.jobs.{jobs.namespace}.>"
    yield f"trellis.jobs.workers.{jobs.namespace}.>"
    for queue in jobs.queues.values():
        yield f"{queue.publish_prefix}.>"
    yield from ("$JS.API.DIRECT.GET.JOBS", "$JS.API.DIRECT.GET.JOBS.>", "$JS.API.STREAM.MSG.GET.JOBS")
    for request in ("API.CONSUMER.INFO", "API.CONSUMER.MSG.NEXT", "ACK"):
        yield f"$JS.{request}.{jobs.work_stream}.>"


def _bucket_lines(bucket: str) -> Iterator[str]:
    stream = f"KV_{bucket}"
    yield f"$KV.{bucket}.>"
    for request in ("STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET", "CONSUMER.CREATE"):
        yield f"$JS.API.{request}.{stream}"
    for request in (
        *("DIRECT.GET", "CONSUMER.CREATE", "CONSUMER.INFO", "CONSUMER.DELETE", "CONSUMER.MSG.NEXT"),
    ):
        yield f"$JS.API.{request}.{stream}.>"
    yield f"$JS.API.$KV.{bucket}.>"
    yield f"$JS.ACK.{stream}.>"


def _store_lines(store: str) -> Iterator[str]:
    stream = f"OBJ_{store}"
    yield from (f"$O.{store}.C.>", f"$O.{store}.M.>")
    for request in ("STREAM.INFO", "STREAM.MSG.GET", "STREAM.PURGE", "CONSUMER.CREATE"):
        yield f"$JS.API.{request}.{stream}"
    yield from (f"$JS.API.CONSUMER.CREATE.{stream}.>", f"$JS.API.CONSUMER.DELETE.{stream}.>")
    yield f"$JS.FC.{stream}.>"


def _group_lines(group: GroupBinding) -> Iterator[str]:
    for request in ("API.CONSUMER.INFO", "API.CONSUMER.MSG.NEXT"):
        yield f"$JS.{request}.{group.stream}.{group.consumer_name}"
    yield f"$JS.ACK.{group.stream}.{group.consumer_name}.>"


async def create_resources(root: Connection, binding: Binding) -> None:
    """Create what is in a binding, as the control plane does, and nothing else."""
    await create_stream(root, {"name": "trellis", "subjects": ["events.>"]})
    if binding.jobs is not None:
        await create_job_resources(root, binding.jobs)
    for bucket in binding.kv.values():
        need = BucketRequirement(bucket=bucket.bucket, history=bucket.history)
        await create_stream(root, {"name": need.stream.name, **need.stream.config})
    for store in binding.store.values():
        await _create_store(root, store)
    for group in binding.event_consumers.values():
        await create_consumer(
            root,
            group.stream,
            {
                "durable_name": group.consumer_name,
                "filter_subjects": [*group.filter_subjects],
                "deliver_policy": group.replay,
                "ack_policy": "explicit",
                "ack_wait": group.ack_wait_ms * _MILLISECOND,
                "max_deliver": group.max_deliver,
                "max_ack_pending": group.concurrency,
                "backoff": [step * _MILLISECOND for step in group.backoff_ms],
            },
        )


async def _create_store(root: Connection, store: StoreBinding) -> None:
    need = StoreRequirement(store=store.name)
    await create_stream(root, {"name": need.stream.name, **need.stream.config})


async def create_job_resources(root: Connection, jobs: JobsBinding) -> None:
    """Create the streams of jobs, and the consumers of the queues."""
    await create_stream(
        root, {"name": "JOBS", "subjects": ["trellis.jobs.>"], "allow_direct": True, "num_replicas": 1}
    )
    sources: list[JsonValue] = [
        {
            "name": "JOBS",
            "subject_transforms": [{"src": f"trellis.jobs.*.*.*.{event}", "dest": "trellis.work.$1.$2"}],
        }
        for event in ("created", "retried")
    ]
    await create_stream(
        root,
        {
            "name": jobs.work_stream,
            "subjects": ["trellis.work.>"],
            "retention": "workqueue",
            "sources": sources,
        },
    )
    await create_stream(
        root,
        {
            "name": "JOBS_ADVISORIES",
            "subjects": [f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{jobs.work_stream}.>"],
            "max_age": timedelta(days=7) // timedelta(microseconds=1) * 1000,
        },
    )
    for queue in jobs.queues.values():
        await create_consumer(
            root,
            jobs.work_stream,
            {
                "durable_name": queue.consumer_name,
                "filter_subject": queue.work_subject,
                "ack_policy": "explicit",
                "ack_wait": queue.ack_wait_ms * _MILLISECOND,
                "max_deliver": queue.max_deliver,
                "max_ack_pending": queue.concurrency,
                "backoff": [step * _MILLISECOND for step in queue.backoff_ms],
            },
        )
