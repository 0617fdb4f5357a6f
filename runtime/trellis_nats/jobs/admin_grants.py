"""The permissions of the people and tools that look at the jobs of a service, or act on them. Pure.

Every line permits something that the admin tools send; tests/integration/permissions runs them with nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

from trellis_nats._nats.jetstream.kv import kv_stream, kv_subject
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.grants import Grant, Probe, api, publish, scan_grants
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import (
    ADMIN_BUCKET,
    ADVISORIES_STREAM,
    AUDIT_PREFIX,
    AUDIT_STREAM,
    DELAYED_STREAM,
    STREAM,
    JobSubjects,
)

__all__ = ["act_grants", "act_on_queue_grants", "view_grants", "view_queue_grants"]

_BY_OPERATORS = (
    (EventType.CANCELLED, "cancel"),
    (EventType.RETRIED, "retry and replay"),
    (EventType.DISMISSED, "dismiss"),
    (EventType.CREATED, "replay with another payload, or create again, the"),
    (EventType.EXPIRED, "expire"),
    (EventType.DEAD, "bury undeliverable"),
    (EventType.STALE, "release the keys of dead"),
)
"""The events that operators and the duties of a fleet write."""


def view_queue_grants(jobs: JobsBinding, queue: QueueBinding) -> Iterator[Grant]:
    """To look at the consumers and the messages of a queue."""
    name = queue.queue_type
    for stream in (jobs.work_stream, DELAYED_STREAM):
        yield api(f"CONSUMER.INFO.{stream}.{queue.consumer_name}", f"see what queue {name} delivers")
    subjects, purpose = JobSubjects(queue.publish_prefix), f"find jobs of queue {name} without a message"
    yield api(f"DIRECT.GET.{jobs.work_stream}.{queue.work_subject}", purpose)
    for subject in (subjects.parked("*"), subjects.due):
        yield api(f"DIRECT.GET.{DELAYED_STREAM}.{subject}", purpose)


def view_grants(jobs: JobsBinding) -> Iterator[Grant]:
    """To look at everything that the tools show: jobs, workers, keys, pauses, bulk actions, the audit log.

    NATS cannot confine consumers on a stream to some of its subjects: an account that may list the jobs of one service may read
    every message of stream JOBS, payloads included.
    """
    keys, admin = jobs.keys_bucket, ADMIN_BUCKET
    yield from scan_grants(STREAM, "list jobs and workers, and read the histories of jobs")
    yield api(f"DIRECT.GET.{STREAM}.>", "read jobs and the heartbeats of workers")
    yield api("INFO", "see how much the account may store")
    for stream in (jobs.work_stream, DELAYED_STREAM):
        yield api(f"CONSUMER.LIST.{stream}", "see what all queues deliver")
    yield api(f"STREAM.MSG.GET.{jobs.work_stream}", "read the messages of jobs that wait")
    yield from scan_grants(AUDIT_STREAM, "read the audit log")
    yield api(f"DIRECT.GET.{AUDIT_STREAM}.{AUDIT_PREFIX}.>", "read the newest record of the audit log")
    for bucket, what in ((keys, "keys and paused queues"), (admin, "bulk actions")):
        yield from scan_grants(kv_stream(bucket), f"list {what}")
        yield api(f"DIRECT.GET.{kv_stream(bucket)}.{kv_subject(bucket)}", f"read {what}")
        yield api(f"STREAM.MSG.GET.{kv_stream(bucket)}", f"read the newest state of {what}")
    for stream in (
        *(STREAM, jobs.work_stream, DELAYED_STREAM, ADVISORIES_STREAM),
        *(AUDIT_STREAM, kv_stream(keys), kv_stream(admin)),
    ):
        yield api(f"STREAM.INFO.{stream}", f"look at stream {stream}")


def act_on_queue_grants(queue: QueueBinding) -> Iterator[Grant]:
    """To act on the jobs of a queue."""
    for event, verb in _BY_OPERATORS:
        purpose = f"{verb} jobs of queue {queue.queue_type}"
        yield publish(f"{queue.publish_prefix}.*.{event}", purpose, probe=Probe.WRONG_STREAM)
    yield publish(
        JobSubjects(queue.publish_prefix).question(),
        f"ask workers which jobs of queue {queue.queue_type} they run",
        probe=Probe.WRONG_STREAM,
    )


def act_grants() -> Iterator[Grant]:
    """To act on jobs at all: each action is in the audit log, and bulk actions are in a bucket."""
    yield publish(f"{AUDIT_PREFIX}.>", "store each action in the audit log", probe=Probe.WRONG_STREAM)
    yield publish(kv_subject(ADMIN_BUCKET), "store bulk actions", probe=Probe.WRONG_STREAM)
    for stream in (AUDIT_STREAM, kv_stream(ADMIN_BUCKET)):
        yield api(f"STREAM.CREATE.{stream}", f"create stream {stream} on first use")
    yield api(f"STREAM.MSG.GET.{STREAM}", "read the newest event of a job from the leader of the stream")
    yield from scan_grants(ADVISORIES_STREAM, "find jobs that the server delivers no longer")
