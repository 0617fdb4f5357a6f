"""The rules of job queues: names are tokens, keys can be computed, and a lease outlives a missed heartbeat."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trellis_codegen.contract.defaults import (
    ACK_WAIT_MS,
    GROUP_MAX_DELIVER,
    HEARTBEAT_MAX_MS,
    HEARTBEATS_PER_LEASE,
    MAX_DELIVER,
)
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.pointers import list_pointers
from trellis_codegen.contract.queues import EventConsumer, Job
from trellis_codegen.contract.rules.parameters import find_pointer_problem
from trellis_codegen.problems import Pointer, Problem, Severity
from trellis_codegen.rule_ids import Rule

__all__ = [
    "check_backoff",
    "check_flags",
    "check_keys",
    "check_leases",
    "check_literal_keys",
    "check_queue_names",
    "check_queue_policies",
]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SCALARS = frozenset(["string", "integer", "boolean"])


def check_queue_names(manifest: Manifest) -> Iterator[Problem]:
    """The name of a queue is one token of its subjects."""
    for name in manifest.jobs or {}:
        if name and not _NAME.fullmatch(name):
            what = f'"{name[:80]}" is not a valid queue name'
            hint = "use at most 64 letters, digits, dashes and underscores"
            yield Problem(pointer=("jobs", name), rule=Rule.INVALID_NAME, what=what, hint=hint, on_key=True)


def check_queue_policies(manifest: Manifest) -> Iterator[Problem]:
    """`queue` says how many jobs of a key may wait, so it needs `keyConcurrency`."""
    for name, job in (manifest.jobs or {}).items():
        if job.queue is not None and job.key_concurrency is None:
            yield Problem(
                pointer=("jobs", name, "queue"),
                rule=Rule.QUEUE_WITHOUT_KEY,
                what='"queue" needs "keyConcurrency"',
                hint='declare "keyConcurrency", or remove "queue"',
                on_key=True,
            )


def check_keys(manifest: Manifest) -> Iterator[Problem]:
    """A key is made of literals and of strings, integers and booleans from the payload.

    Other numbers have more than one text, so two runtimes would compute different keys for the same value.
    """
    for name, job in (manifest.jobs or {}).items():
        schema = (manifest.schemas or {}).get(job.payload.schema_name)
        for index, segment in enumerate(job.key_concurrency.key if job.key_concurrency else []):
            place: Pointer = ("jobs", name, "keyConcurrency", "key", index)
            problem = (
                find_pointer_problem(segment, schema, place, allowed=_SCALARS) if segment[:1] == "/" else None
            )
            if problem:
                yield problem


def check_literal_keys(manifest: Manifest) -> Iterator[Problem]:
    """A key differs from job to job, and none of its literals is a pointer whose slash is missing.

    A literal in front of a pointer names what the key is about, as in `["customer", "/customerId"]`. Such a name may be a member of
    the payload as well, so a literal is suspected only if no pointer of the key leads to that member or into it.
    """
    for name, job in (manifest.jobs or {}).items():
        key = job.key_concurrency.key if job.key_concurrency else []
        pointers = [segment for segment in key if segment[:1] == "/"]
        members = list_pointers((manifest.schemas or {}).get(job.payload.schema_name))
        place: Pointer = ("jobs", name, "keyConcurrency", "key")
        suspects = {
            index: f"/{segment}"
            for index, segment in enumerate(key)
            if f"/{segment}" in members
            and not any(f"{pointer}/".startswith(f"/{segment}/") for pointer in pointers)
        }
        for index, pointer in suspects.items():
            what = f'"{key[index]}" is a text, the same for every job, and not the value of the member "{key[index]}"'
            yield _warn_of_literal((*place, index), what, f'write "{pointer}"')
        if key and not pointers and not suspects:
            hint = f'add a pointer to a member of the payload, such as "{members[0]}"' if members else None
            yield _warn_of_literal(place, "no part is a pointer, so all jobs of the queue have one key", hint)


def _warn_of_literal(pointer: Pointer, what: str, hint: str | None) -> Problem:
    return Problem(pointer=pointer, rule=Rule.LITERAL_KEY, what=what, hint=hint, severity=Severity.WARNING)


def check_leases(manifest: Manifest) -> Iterator[Problem]:
    """`heartbeatTtlMs` is longer than `heartbeatIntervalMs`, whether they are declared or defaults."""
    for name, job in (manifest.jobs or {}).items():
        key = job.key_concurrency
        if key is None:
            continue
        interval, lease = compute_heartbeat_ms(job)
        if lease <= interval:
            field = "heartbeatTtlMs" if key.heartbeat_ttl_ms is not None else "heartbeatIntervalMs"
            lease_text = (
                f"a lease of {lease} ms" if key.heartbeat_ttl_ms else f"the default lease of {lease} ms"
            )
            what = f"{lease_text} ends before the next heartbeat, which is sent every {interval} ms"
            hint = f"make heartbeatTtlMs longer than heartbeatIntervalMs, for example {HEARTBEATS_PER_LEASE * interval}"
            yield Problem(
                pointer=("jobs", name, "keyConcurrency", field),
                rule=Rule.LEASE_TOO_SHORT,
                what=what,
                hint=hint,
            )


def compute_heartbeat_ms(job: Job) -> tuple[int, int]:
    """Return how often a keyed job of a queue renews its lease, and how long the lease lasts."""
    ack_wait = job.ack_wait_ms or ACK_WAIT_MS
    default = max(1, min(HEARTBEAT_MAX_MS, ack_wait // HEARTBEATS_PER_LEASE))
    key = job.key_concurrency
    interval, lease = (key.heartbeat_interval_ms, key.heartbeat_ttl_ms) if key else (None, None)
    return interval or default, lease or max(ack_wait, HEARTBEATS_PER_LEASE * default)


def check_backoff(manifest: Manifest) -> Iterator[Problem]:
    """A queue, and a group of event consumers, declares at most as many waits as it has retries."""
    entries: list[tuple[Pointer, Job | EventConsumer, int]] = [
        *((("jobs", name), job, MAX_DELIVER) for name, job in (manifest.jobs or {}).items()),
        *(
            (("eventConsumers", name), group, GROUP_MAX_DELIVER)
            for name, group in (manifest.event_consumers or {}).items()
        ),
    ]
    for place, entry, default in entries:
        retries = (entry.max_deliver or default) - 1
        if entry.backoff_ms and len(entry.backoff_ms) > retries:
            what = f"has {len(entry.backoff_ms)} waits, of which the first {retries} can be reached"
            hint = (
                f"maxDeliver is {retries + 1}, which leaves {retries} for retries; raise it, or remove waits"
            )
            pointer = (*place, "backoffMs")
            yield Problem(
                pointer=pointer,
                rule=Rule.UNREACHABLE_BACKOFF,
                what=what,
                hint=hint,
                severity=Severity.WARNING,
            )


def check_flags(manifest: Manifest) -> Iterator[Problem]:
    """`dlq: false` has no effect: a job without attempts left ends as `dead`, whatever the contract declares.

    No version of the wire format says what else should become of such a job. `progress` and `logs` are enforced.
    """
    for name, job in (manifest.jobs or {}).items():
        if job.dlq is False:
            what = "false is not enforced: a job without attempts left ends as dead, and can be retried by an operator"
            yield Problem(
                pointer=("jobs", name, "dlq"),
                rule=Rule.DLQ_NOT_ENFORCED,
                what=what,
                hint='remove "dlq"',
                severity=Severity.WARNING,
            )
