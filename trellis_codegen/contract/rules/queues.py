"""Job queues: names that are tokens, keys that can be computed, leases that outlive a missed heartbeat."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trellis_codegen.contract.manifest import Job, Manifest
from trellis_codegen.contract.rules.parameters import pointer_problem
from trellis_codegen.problems import Pointer, Problem, Severity

__all__ = [
    "keys_can_be_computed",
    "leases_outlive_heartbeats",
    "queues_have_keys",
    "queues_have_legal_names",
    "waits_can_be_reached",
]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SCALARS = frozenset(["string", "integer", "boolean"])
_DEFAULT_ACK_WAIT_MS = 300_000
_LONGEST_DEFAULT_HEARTBEAT_MS = 30_000
_DEFAULT_MAX_DELIVER = 5


def queues_have_legal_names(manifest: Manifest) -> Iterator[Problem]:
    """The name of a queue is one token of its subjects."""
    for name in manifest.jobs or {}:
        if name and not _NAME.fullmatch(name):
            what = f'"{name[:80]}" can\'t be the name of a queue'
            hint = "at most 64 letters, digits, dashes and underscores"
            yield Problem(pointer=("jobs", name), what=what, hint=hint, on_key=True)


def queues_have_keys(manifest: Manifest) -> Iterator[Problem]:
    """What may wait per key can be said only where there are keys."""
    for name, job in (manifest.jobs or {}).items():
        if job.queue is not None and job.key_concurrency is None:
            yield Problem(pointer=("jobs", name, "queue"), what='"queue" needs "keyConcurrency"', on_key=True)


def keys_can_be_computed(manifest: Manifest) -> Iterator[Problem]:
    """A key is made of words and of strings, integers and booleans of the payload.

    Other numbers have more than one text, so two runtimes would compute two keys for one value.
    """
    for name, job in (manifest.jobs or {}).items():
        schema = (manifest.schemas or {}).get(job.payload.schema_name)
        for index, segment in enumerate(job.key_concurrency.key if job.key_concurrency else []):
            place: Pointer = ("jobs", name, "keyConcurrency", "key", index)
            problem = (
                pointer_problem(segment, schema, place, allowed=_SCALARS) if segment[:1] == "/" else None
            )
            if problem:
                yield problem


def leases_outlive_heartbeats(manifest: Manifest) -> Iterator[Problem]:
    """`heartbeatTtlMs` is longer than `heartbeatIntervalMs`, with the defaults for what is not given."""
    for name, job in (manifest.jobs or {}).items():
        key = job.key_concurrency
        if key is None:
            continue
        interval, lease = heartbeat_ms(job)
        if lease <= interval:
            field = "heartbeatTtlMs" if key.heartbeat_ttl_ms is not None else "heartbeatIntervalMs"
            what = f"a lease of {lease} ms ends before the next heartbeat, every {interval} ms"
            hint = f"heartbeatTtlMs must be longer than heartbeatIntervalMs: {3 * interval}"
            yield Problem(pointer=("jobs", name, "keyConcurrency", field), what=what, hint=hint)


def heartbeat_ms(job: Job) -> tuple[int, int]:
    """Return how often a keyed job of a queue renews its lease, and how long the lease is."""
    ack_wait = job.ack_wait_ms or _DEFAULT_ACK_WAIT_MS
    default = max(1, min(_LONGEST_DEFAULT_HEARTBEAT_MS, ack_wait // 3))
    key = job.key_concurrency
    interval, lease = (key.heartbeat_interval_ms, key.heartbeat_ttl_ms) if key else (None, None)
    return interval or default, lease or max(ack_wait, 3 * default)


def waits_can_be_reached(manifest: Manifest) -> Iterator[Problem]:
    """A queue has no more waits than retries."""
    for name, job in (manifest.jobs or {}).items():
        retries = (job.max_deliver or _DEFAULT_MAX_DELIVER) - 1
        if job.backoff_ms and len(job.backoff_ms) > retries:
            what = f"only {'the first of' if retries == 1 else f'{retries} of'} these waits can be reached"
            hint = f"maxDeliver {retries + 1} is one try and {retries} more"
            pointer = ("jobs", name, "backoffMs")
            yield Problem(pointer=pointer, what=what, hint=hint, severity=Severity.WARNING)
