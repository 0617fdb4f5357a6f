"""The job queues: one class and one attribute each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trellis_codegen import naming
from trellis_codegen.contract.defaults import (
    BACKOFF_MS,
    MAX_ACTIVE,
    MAX_DELIVER,
    MAX_QUEUED_PER_KEY,
    STALE_POLICY,
    WHEN_FULL,
)
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.queues import Job, KeyConcurrency, KeyQueue
from trellis_codegen.plan.collisions import Claim
from trellis_codegen.plan.models import ModelsPlan
from trellis_codegen.plan.wording import (
    Argument,
    describe,
    describe_duration,
    write_duration,
    write_durations,
    write_tuple,
)

__all__ = ["FACADE_NAMES", "QueuePlan", "claim_queue_names", "describe_retries", "plan_jobs"]

FACADE_NAMES = frozenset(
    [
        "dead",
        "follow",
        "is_leader",
        "purge_ended",
        "rescue_lost",
        "runtime",
        "start",
        "start_workers",
        "stop",
    ]
)
"""The attributes of the runtime's `Jobs`: a queue with one of these names gets a trailing underscore."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QueuePlan:
    """One queue."""

    name: str
    attribute: str
    queue_class: str
    job_alias: str
    docstring: str
    types: tuple[str, ...]
    """What the queue is generic in: payload, result, and update if it has one."""
    model_names: tuple[str, ...]
    """The models among its types."""
    spec: tuple[Argument, ...]
    """The settings of the contract; the runtime has the defaults for the rest."""
    key: tuple[Argument, ...]
    """The arguments of its `KeySpec`; empty for a queue without keys."""


def claim_queue_names(manifest: Manifest) -> Iterator[Claim]:
    """Yield the Python names that the queues need."""
    for name in manifest.jobs or {}:
        yield Claim(f"jobs.{_attribute(name)}", ("jobs", name))


def plan_jobs(manifest: Manifest, models: ModelsPlan) -> tuple[QueuePlan, ...]:
    """Plan the queues, in the contract's order."""
    return tuple(_queue(name, job, models) for name, job in (manifest.jobs or {}).items())


def describe_retries(max_deliver: int, backoff_ms: tuple[int, ...]) -> str:
    """Describe the attempts of a job and the waits between them; waits that are never reached are left out.

    `At most 5 attempts; retries after 5 s, 30 s, then every 2 min.`
    """
    retries = max_deliver - 1
    if not retries:
        return "One attempt, no retries."
    attempts = f"At most {max_deliver} attempts"
    waits = [describe_duration(wait_ms) for wait_ms in backoff_ms[:retries]]
    if not any(backoff_ms[:retries]):
        return f"{attempts}; retries immediately."
    if len(waits) < retries:
        return f"{attempts}; retries {_after(waits[:-1], 'then ')}every {waits[-1]}."
    return f"{attempts}; retries {_after(waits[:-1], 'then ') or 'after '}{waits[-1]}."


def _after(waits: list[str], joint: str) -> str:
    return f"after {', '.join(waits)}, {joint}" if waits else ""


def _queue(name: str, job: Job, models: ModelsPlan) -> QueuePlan:
    stem = naming.pascal(name)
    types = [
        models.type_name(job.payload.schema_name),
        models.type_name(job.result.schema_name) if job.result else "None",
        *([models.type_name(job.update.schema_name)] if job.update else []),
    ]
    return QueuePlan(
        name=name,
        attribute=_attribute(name),
        queue_class=naming.class_name(f"{stem}Queue"),
        job_alias=naming.class_name(f"{stem}Job"),
        docstring=describe(job.docs, f"The `{name}` jobs.", _numbers(job)),
        types=tuple(types),
        model_names=tuple(kind for kind in types if kind != "None"),
        spec=tuple(_spec(name, job, models)),
        key=tuple(_key_spec(job.key_concurrency, job.queue)) if job.key_concurrency else (),
    )


def _attribute(name: str) -> str:
    attribute = naming.attribute(name)
    return f"{attribute}_" if attribute in FACADE_NAMES else attribute


def _spec(name: str, job: Job, models: ModelsPlan) -> Iterator[Argument]:
    yield Argument(name="name", value=repr(name))
    yield Argument(name="payload", value=models.type_name(job.payload.schema_name))
    if job.result:
        yield Argument(name="result", value=models.type_name(job.result.schema_name))
    if job.update:
        yield Argument(name="update", value=models.type_name(job.update.schema_name))
    if job.max_deliver is not None:
        yield Argument(name="max_deliver", value=str(job.max_deliver))
    if job.backoff_ms is not None:
        yield write_durations("backoff", job.backoff_ms)
    if job.ack_wait_ms is not None:
        yield write_duration("ack_wait", job.ack_wait_ms)
    if job.default_deadline_ms is not None:
        yield write_duration("default_deadline", job.default_deadline_ms)
    if job.concurrency is not None:
        yield Argument(name="concurrency", value=str(job.concurrency))
    for flag in ("progress", "logs", "dlq"):
        if (value := getattr(job, flag)) is not None:
            yield Argument(name=flag, value=str(value))


def _key_spec(key: KeyConcurrency, queue: KeyQueue | None) -> Iterator[Argument]:
    yield write_tuple("template", map(repr, key.key))
    if key.max_active is not None:
        yield Argument(name="max_active", value=str(key.max_active))
    if key.heartbeat_interval_ms is not None:
        yield write_duration("heartbeat_interval", key.heartbeat_interval_ms)
    if key.heartbeat_ttl_ms is not None:
        yield write_duration("lease", key.heartbeat_ttl_ms)
    if key.stale_policy is not None:
        yield Argument(name="stale_policy", value=repr(key.stale_policy))
    if queue and queue.max_queued_per_key is not None:
        yield Argument(name="max_queued", value=str(queue.max_queued_per_key))
    if queue and queue.when_full is not None:
        yield Argument(name="when_full", value=repr(queue.when_full))


def _numbers(job: Job) -> str:
    """Describe what the numbers of the queue mean for a job."""
    max_deliver = MAX_DELIVER if job.max_deliver is None else job.max_deliver
    backoff = BACKOFF_MS if job.backoff_ms is None else tuple(job.backoff_ms)
    sentences = [describe_retries(max_deliver, backoff)]
    if job.ack_wait_ms is not None:
        sentences.append(
            f"A worker that is silent for {describe_duration(job.ack_wait_ms)} is considered dead."
        )
    if job.default_deadline_ms is not None:
        sentences.append(f"A job expires {describe_duration(job.default_deadline_ms)} after its creation.")
    if job.concurrency is not None:
        sentences.append(f"At most {job.concurrency} run at a time in one process.")
    if job.key_concurrency is not None:
        sentences.append(_describe_key(job.key_concurrency, job.queue))
    return " ".join(sentences)


def _describe_key(key: KeyConcurrency, queue: KeyQueue | None) -> str:
    waiting = (queue.max_queued_per_key if queue else None) or MAX_QUEUED_PER_KEY
    when_full = (queue.when_full if queue else None) or WHEN_FULL
    if waiting:
        ends = {
            "reject": "is rejected",
            "coalesce": "is coalesced into the one that has waited longest",
            "replace-oldest": "replaces the one that has waited longest",
        }
        wait = f"{waiting} may wait, and a further one {ends[when_full]}"
    else:
        wait = (
            f"a further one is {'coalesced into the active one' if when_full == 'coalesce' else 'rejected'}"
        )
    dies = {
        "fail-stale": "A job whose worker dies ends as stale if another one waits for its key, and does not run again",
        "block": "A job whose worker dies keeps its place, and runs again",
    }
    return (
        f"At most {key.max_active or MAX_ACTIVE} active per key {':'.join(key.key)}; {wait}. "
        f"{dies[key.stale_policy or STALE_POLICY]}."
    )
