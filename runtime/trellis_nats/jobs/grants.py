"""What jobs need: creating and following them, working them, the duties. Pure.

Every line stands for something that the runtime sends; tests/integration/permissions runs it with nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.grants import Grant, Probe, api, publish, subscribe
from trellis_nats.ids import is_token
from trellis_nats.provision.plan import JOBS

__all__ = ["awaiting", "creating", "duties", "inspecting", "keyed", "records", "working"]


def creating(jobs: JobsBinding, queue: QueueBinding) -> Iterator[Grant]:
    """Create jobs of a queue, and do with their refs what they offer."""
    prefix, name = queue.publish_prefix, queue.queue_type
    yield publish(f"{prefix}.*.created", f"create jobs of queue {name}", probe=Probe.REFUSED)
    yield from inspecting(jobs, queue)


def inspecting(jobs: JobsBinding, queue: QueueBinding) -> Iterator[Grant]:
    """Read, await and cancel jobs of a queue."""
    prefix, name = queue.publish_prefix, queue.queue_type
    yield publish(f"{prefix}.*.cancelled", f"cancel jobs of queue {name}", probe=Probe.REFUSED)
    yield api(f"DIRECT.GET.{JOBS}.{prefix}.>", f"read jobs of queue {name}")
    yield api(
        f"CONSUMER.INFO.{jobs.work_stream}.{queue.consumer_name}", f"see that queue {name} can be worked"
    )
    yield subscribe(f"{prefix}.*.*", f"hear of jobs of queue {name}")
    if queue.updates_prefix is not None:
        yield subscribe(f"{queue.updates_prefix}.*", f"hear the updates of queue {name}")


def working(jobs: JobsBinding, queue: QueueBinding) -> Iterator[Grant]:
    """Work a queue."""
    stream, consumer, name = jobs.work_stream, queue.consumer_name, queue.queue_type
    yield publish(
        f"{queue.publish_prefix}.*.*", f"write what becomes of jobs of queue {name}", probe=Probe.REFUSED
    )
    yield api(f"CONSUMER.MSG.NEXT.{stream}.{consumer}", f"take jobs of queue {name}")
    yield publish(f"$JS.ACK.{stream}.{consumer}.>", f"acknowledge jobs of queue {name}")
    if queue.updates_prefix is not None:
        yield publish(f"{queue.updates_prefix}.*", f"send the updates of queue {name}")
    claims = f"trellis.job_claims.{jobs.namespace}.*"
    yield publish(claims, "ask workers what they work on")
    yield subscribe(claims, "be asked what this worker works on")
    if is_token(jobs.namespace) and is_token(name):
        yield publish(
            f"trellis.jobs.workers.{jobs.namespace}.{name}.*.heartbeat",
            f"show that queue {name} is worked",
            probe=Probe.TRACED,
            is_needed=False,
        )


def keyed(jobs: JobsBinding, queue: QueueBinding) -> Iterator[Grant]:
    """Create jobs of a queue with concurrency keys."""
    name = queue.queue_type
    prefix = queue.publish_prefix
    yield publish(f"{prefix}.*.skipped", f"replace jobs of queue {name}", probe=Probe.REFUSED)
    yield publish(f"{prefix}.*.stale", f"take slots of dead jobs of queue {name}", probe=Probe.REFUSED)
    yield publish(f"trellis.job_claims.{jobs.namespace}.*", "ask workers what they work on")
    yield from records(jobs, queue)


def records(jobs: JobsBinding, queue: QueueBinding) -> Iterator[Grant]:
    """Read and change the records of a queue's keys: to free a place, for instance."""
    bucket, name = jobs.keys_bucket, queue.queue_type
    yield publish(f"$KV.{bucket}.{jobs.namespace}.>", f"keep the keys of queue {name}", probe=Probe.REFUSED)
    yield api(f"DIRECT.GET.KV_{bucket}.$KV.{bucket}.>", f"read the keys of queue {name}")
    yield api(f"STREAM.MSG.GET.KV_{bucket}", f"read the newest keys of queue {name}")


def awaiting(jobs: JobsBinding, queue: QueueBinding) -> Iterator[Grant]:
    """Work jobs of a queue with concurrency keys, beside what it takes to create them."""
    records_of = f"$KV.{jobs.keys_bucket}.{jobs.namespace}.>"
    yield subscribe(records_of, f"hear when a key of queue {queue.queue_type} is free")


def duties(jobs: JobsBinding) -> Iterator[Grant]:
    """Find lost jobs, purge ended ones, and follow all: what `service.jobs.follow()` and `Options.duties` need.

    Consumers on the stream of jobs cannot be confined to a service, and neither can a purge.
    """
    lease = f"$KV.{jobs.keys_bucket}.duty.*"
    reading = "list and follow jobs"
    for request in ("CREATE.JOBS.>", "DELETE.JOBS.*", "MSG.NEXT.JOBS.*"):
        yield api(f"CONSUMER.{request}", reading, is_needed=False)
    yield publish(f"$JS.ACK.{JOBS}.*.>", "give back what a follower no longer reads", is_needed=False)
    yield api(f"STREAM.PURGE.{JOBS}", "purge ended jobs", is_needed=False)
    yield api(f"DIRECT.GET.{jobs.work_stream}", "find lost jobs", is_needed=False)
    for queue in jobs.queues.values():
        yield publish(queue.work_subject, f"enqueue lost jobs of queue {queue.queue_type}", is_needed=False)
    yield publish(f"trellis.job_claims.{jobs.namespace}.*", "ask workers what they work on", is_needed=False)
    yield publish(lease, "hold the lease of the duties", is_needed=False)
    yield api(f"DIRECT.GET.KV_{jobs.keys_bucket}.{lease}", "read the lease of the duties", is_needed=False)
