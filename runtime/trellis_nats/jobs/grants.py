"""The permissions that jobs need on the server. Pure.

Every line permits something that the runtime sends; tests/integration/permissions runs it with nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

from trellis_nats._nats.jetstream.kv import kv_stream, kv_subject
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.grants import Grant, Probe, StartCheck, answer, api, publish, scan_grants, subscribe
from trellis_nats.ids import is_token
from trellis_nats.jobs.model.queue_pause import pause_key
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import (
    DELAYED_STREAM,
    LEASES_PREFIX,
    STREAM,
    JobSubjects,
    liveness_subject,
    stack_subject,
    worker_heartbeat_subject,
)

__all__ = [
    "audit_grants",
    "create_grants",
    "event_question_grants",
    "inspect_grants",
    "key_record_grants",
    "maintenance_grants",
    "own_question_grants",
    "parking_grants",
    "pause_grants",
    "pausing_grants",
    "read_stack_grants",
    "stack_grants",
    "work_grants",
]


def create_grants(jobs: JobsBinding, queue: QueueBinding, *, has_keys: bool) -> Iterator[Grant]:
    """To create jobs of a queue, and to use their refs."""
    prefix, name = queue.publish_prefix, queue.queue_type
    yield publish(f"{prefix}.*.{EventType.CREATED}", f"create jobs of queue {name}", probe=Probe.WRONG_STREAM)
    yield from inspect_grants(queue)
    if has_keys:
        yield publish(
            f"{prefix}.*.{EventType.SKIPPED}", f"replace jobs of queue {name}", probe=Probe.WRONG_STREAM
        )
        yield publish(
            f"{prefix}.*.{EventType.STALE}",
            f"free slots of dead jobs of queue {name}",
            probe=Probe.WRONG_STREAM,
        )
        yield _ask(jobs)
        yield from key_record_grants(jobs, queue)


def inspect_grants(queue: QueueBinding) -> Iterator[Grant]:
    """To read, await and cancel jobs of a queue."""
    prefix, name = queue.publish_prefix, queue.queue_type
    yield publish(
        f"{prefix}.*.{EventType.CANCELLED}", f"cancel jobs of queue {name}", probe=Probe.WRONG_STREAM
    )
    yield api(f"DIRECT.GET.{STREAM}.{prefix}.>", f"read jobs of queue {name}")
    yield subscribe(f"{prefix}.*.*", f"follow jobs of queue {name}")
    if queue.updates_prefix is not None:
        yield subscribe(f"{queue.updates_prefix}.*", f"receive the updates of queue {name}")


def work_grants(
    jobs: JobsBinding, queue: QueueBinding, *, has_keys: bool, instance_id: str
) -> Iterator[Grant]:
    """To work a queue, in addition to creating its jobs."""
    stream, consumer, name = jobs.work_stream, queue.consumer_name, queue.queue_type
    yield publish(
        f"{queue.publish_prefix}.*.*", f"store the events of jobs of queue {name}", probe=Probe.WRONG_STREAM
    )
    yield api(f"CONSUMER.INFO.{stream}.{consumer}", f"verify the consumer of queue {name}")
    yield api(f"CONSUMER.MSG.NEXT.{stream}.{consumer}", f"pull jobs of queue {name}")
    yield publish(f"$JS.ACK.{stream}.{consumer}.>", f"acknowledge jobs of queue {name}")
    yield publish(
        f"$JS.ACK.*.*.{stream}.{consumer}.>",
        f"acknowledge jobs of queue {name} where the server has js_ack_fc_v2",
        at_start=StartCheck.OPTIONAL,
    )
    yield publish(
        f"$JS.ACK.*.*.{DELAYED_STREAM}.{consumer}.>",
        f"acknowledge due jobs of queue {name} where the server has js_ack_fc_v2",
        at_start=StartCheck.OPTIONAL,
    )
    if queue.updates_prefix is not None:
        yield publish(f"{queue.updates_prefix}.*", f"send the updates of queue {name}")
    yield from own_question_grants(jobs, instance_id)
    yield from event_question_grants(queue, instance_id)
    if is_token(jobs.namespace) and is_token(name):
        yield publish(
            worker_heartbeat_subject(jobs.namespace, name),
            f"show that queue {name} has a worker",
            probe=Probe.TRACE_ONLY,
            at_start=StartCheck.OPTIONAL,
        )
    if has_keys:
        yield subscribe(_key_records(jobs), f"notice when a key of queue {name} is free")


def own_question_grants(jobs: JobsBinding, instance_id: str) -> Iterator[Grant]:
    """To ask workers which jobs they run, and to answer, on a subject of our own. Control planes do not grant it."""
    subject, own = liveness_subject(jobs.namespace), liveness_subject(jobs.namespace, instance_id)
    yield _ask(jobs)
    yield subscribe(
        subject, "receive questions about the jobs that this worker runs", at_start=StartCheck.OPTIONAL
    )
    yield answer(own, "answer questions about the jobs that this worker runs", at_start=StartCheck.OPTIONAL)


def event_question_grants(queue: QueueBinding, instance_id: str) -> Iterator[Grant]:
    """To do the same on a subject of the queue's events, where a worker may publish and subscribe anyway."""
    subjects, name = JobSubjects(queue.publish_prefix), queue.queue_type
    yield publish(
        subjects.question(),
        f"ask workers which jobs of queue {name} they run",
        probe=Probe.WRONG_STREAM,
        at_start=StartCheck.OPTIONAL,
    )
    yield subscribe(
        subjects.question(), f"receive questions about jobs of queue {name}", at_start=StartCheck.OPTIONAL
    )
    yield answer(
        subjects.question(instance_id),
        f"answer questions about jobs of queue {name}",
        probe=Probe.WRONG_STREAM,
        at_start=StartCheck.OPTIONAL,
    )


def parking_grants(queue: QueueBinding) -> Iterator[Grant]:
    """To park the jobs of a queue that wait for long. Without one of these, such jobs hold deliveries."""
    consumer, name, optional = queue.consumer_name, queue.queue_type, StartCheck.OPTIONAL
    yield publish(
        JobSubjects(queue.publish_prefix).parked("*"),
        f"park waiting jobs of queue {name}",
        probe=Probe.WRONG_STREAM,
        at_start=optional,
    )
    yield api(
        f"CONSUMER.INFO.{DELAYED_STREAM}.{consumer}",
        f"verify the consumer of due jobs of queue {name}",
        at_start=optional,
    )
    yield api(
        f"CONSUMER.MSG.NEXT.{DELAYED_STREAM}.{consumer}",
        f"pull due jobs of queue {name}",
        at_start=optional,
    )
    yield publish(
        f"$JS.ACK.{DELAYED_STREAM}.{consumer}.>", f"acknowledge due jobs of queue {name}", at_start=optional
    )


def pause_grants(jobs: JobsBinding, queue: QueueBinding) -> Iterator[Grant]:
    """To notice that a queue is paused. Without one of these, a worker goes on, unless the server holds its consumers."""
    subject = kv_subject(jobs.keys_bucket, pause_key(queue.queue_type))
    purpose = f"notice that queue {queue.queue_type} is paused"
    yield subscribe(subject, purpose, at_start=StartCheck.OPTIONAL)
    yield api(f"DIRECT.GET.{kv_stream(jobs.keys_bucket)}.{subject}", purpose, at_start=StartCheck.OPTIONAL)


def stack_grants(jobs: JobsBinding, queue: QueueBinding) -> Iterator[Grant]:
    """To answer what the handlers of a queue do."""
    if is_token(jobs.namespace) and is_token(queue.queue_type):
        subject = stack_subject(jobs.namespace, queue.queue_type)
        purpose = f"show the stacks of running jobs of queue {queue.queue_type}"
        yield subscribe(subject, purpose, at_start=StartCheck.OPTIONAL)
        yield answer(subject, purpose, probe=Probe.NONE, at_start=StartCheck.OPTIONAL)


def read_stack_grants(jobs: JobsBinding, queue: QueueBinding) -> Iterator[Grant]:
    """To ask what the handlers of a queue do."""
    if is_token(jobs.namespace) and is_token(queue.queue_type):
        subject = stack_subject(jobs.namespace, queue.queue_type)
        yield publish(subject, f"read the stacks of running jobs of queue {queue.queue_type}")


def pausing_grants(jobs: JobsBinding, queue: QueueBinding) -> Iterator[Grant]:
    """To pause and resume a queue."""
    purpose = f"pause and resume queue {queue.queue_type}"
    subject = kv_subject(jobs.keys_bucket, pause_key(queue.queue_type))
    yield publish(subject, purpose, probe=Probe.WRONG_STREAM)
    yield api(
        f"STREAM.MSG.GET.{kv_stream(jobs.keys_bucket)}", f"read whether queue {queue.queue_type} is paused"
    )
    yield from scan_grants(kv_stream(jobs.keys_bucket), "list the paused queues")
    for stream in (jobs.work_stream, DELAYED_STREAM):
        yield api(f"CONSUMER.PAUSE.{stream}.{queue.consumer_name}", purpose)
        yield api(
            f"CONSUMER.INFO.{stream}.{queue.consumer_name}", f"see whether queue {queue.queue_type} is held"
        )


def key_record_grants(jobs: JobsBinding, queue: QueueBinding) -> Iterator[Grant]:
    """To read and change the records of a queue's keys, for instance to free a slot."""
    bucket, name = jobs.keys_bucket, queue.queue_type
    stream = kv_stream(bucket)
    yield publish(_key_records(jobs), f"write the keys of queue {name}", probe=Probe.WRONG_STREAM)
    yield api(f"DIRECT.GET.{stream}.{kv_subject(bucket)}", f"read the keys of queue {name}")
    yield api(f"STREAM.MSG.GET.{stream}", f"read the newest keys of queue {name}")


def maintenance_grants(jobs: JobsBinding) -> Iterator[Grant]:
    """To rescue lost jobs, purge ended ones, and follow all of them: the maintenance of a service.

    NATS cannot confine consumers on the stream of jobs, or a purge of it, to one service.
    """
    lease = kv_subject(jobs.keys_bucket, f"{LEASES_PREFIX}.*")
    yield from scan_grants(STREAM, "list and follow jobs")
    yield publish(f"$JS.ACK.{STREAM}.*.>", "acknowledge what a follower read")
    yield publish(
        f"$JS.ACK.*.*.{STREAM}.*.>", "acknowledge what a follower read, where the server has js_ack_fc_v2"
    )
    yield api(f"STREAM.PURGE.{STREAM}", "purge ended jobs")
    yield api(f"DIRECT.GET.{jobs.work_stream}", "find lost jobs")
    yield api(f"DIRECT.GET.{DELAYED_STREAM}", "find lost jobs among those that are parked")
    for queue in jobs.queues.values():
        yield publish(queue.work_subject, f"enqueue lost jobs of queue {queue.queue_type}")
    yield _ask(jobs)
    yield publish(lease, "hold the lease of the leader")
    yield api(f"DIRECT.GET.{kv_stream(jobs.keys_bucket)}.{lease}", "read the lease of the leader")


def audit_grants() -> Iterator[Grant]:
    """To read the payloads and results of jobs, of any service."""
    yield from scan_grants(STREAM, "read what jobs have stored")


def _ask(jobs: JobsBinding) -> Grant:
    return publish(
        liveness_subject(jobs.namespace), "ask workers which jobs they run", at_start=StartCheck.OPTIONAL
    )


def _key_records(jobs: JobsBinding) -> str:
    return kv_subject(jobs.keys_bucket, f"{jobs.namespace}.>")
