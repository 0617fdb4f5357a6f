"""Changes of job queues outside of their schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from trellis_codegen.breaking.rules.grades import Column, Grade
from trellis_codegen.breaking.surfaces.changes import ContractChange, find_added, list_common
from trellis_codegen.contract.canonical import canonical_json
from trellis_codegen.contract.defaults import (
    ACK_WAIT_MS,
    BACKOFF_MS,
    MAX_ACTIVE,
    MAX_DELIVER,
    MAX_QUEUED_PER_KEY,
    WHEN_FULL,
)
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.pointers import look_up
from trellis_codegen.contract.queues import Job
from trellis_codegen.contract.rules.queues import compute_heartbeat_ms
from trellis_codegen.problems import Pointer

__all__ = ["find_job_changes"]

_SECTION: Pointer = ("jobs",)
_CONCURRENCY = 1
_STALE_POLICY = "fail-stale"
_FREED = "is freed for another job, and its own job may end as stale and never run"
_TAKEN = "stays taken until its own job runs again or an operator releases it"


def find_job_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield the changes of all queues."""
    renamed = _find_renamed(old, new)
    for name in old.jobs or {}:
        if name in (new.jobs or {}):
            continue
        twin = renamed.get(name)
        yield ContractChange(
            rule="QUEUE_RENAMED" if twin else "QUEUE_REMOVED",
            surface=f"job queue {name}",
            old=(*_SECTION, name),
            new=(*_SECTION, twin) if twin else None,
            words={"old": name, "new": twin or ""},
        )
    added = {name: job for name, job in (new.jobs or {}).items() if name not in renamed.values()}
    yield from find_added(old.jobs, added, _SECTION, "job queue")
    for name, before, after in list_common(old.jobs, new.jobs):
        queue = _Queue(name, before, after)
        yield from queue.find_values()
        yield from queue.find_numbers()
        yield from queue.find_keys(old, new)


def _find_renamed(old: Manifest, new: Manifest) -> dict[str, str]:
    """Return the queues that went with those that came, of the same payload."""
    added = [name for name in new.jobs or {} if name not in (old.jobs or {})]
    found: dict[str, str] = {}
    for name, job in (old.jobs or {}).items():
        if name in (new.jobs or {}):
            continue
        for other in added:
            if _get_payload(old, job) == _get_payload(new, (new.jobs or {})[other]):
                found[name] = other
                added.remove(other)
                break
    return found


def _get_payload(manifest: Manifest, job: Job) -> str:
    return canonical_json((manifest.schemas or {}).get(job.payload.schema_name))


class _Queue:
    """One queue before and after."""

    def __init__(self, name: str, old: Job, new: Job) -> None:
        self.name, self.old, self.new = name, old, new

    def _change(
        self,
        rule: str,
        *way: str,
        words: Mapping[str, object] | None = None,
        grade: Grade | None = None,
        columns: tuple[Column, ...] | None = None,
    ) -> ContractChange:
        place = (*_SECTION, self.name, *way)
        return ContractChange(
            rule=rule,
            surface=f"job queue {self.name}",
            old=place,
            new=place,
            words={key: str(word) for key, word in (words or {}).items()},
            grade=grade,
            columns=columns,
        )

    def find_values(self) -> Iterator[ContractChange]:
        old, new = self.old, self.new
        if old.result is None and new.result is not None:
            yield self._change("JOB_RESULT_ADDED", "result")
        if old.result is not None and new.result is None:
            yield self._change("JOB_RESULT_REMOVED")
        gone = [
            name
            for name, before, after in (
                ("update", old.update is not None, new.update is not None),
                ("progress", old.progress is not False, new.progress is not False),
                ("logs", old.logs is not False, new.logs is not False),
            )
            if before and not after
        ]
        if gone:
            yield self._change("JOB_UPDATE_REMOVED", gone[0], words={"name": " and ".join(gone)})
        if old.dlq is not False and new.dlq is False:
            yield self._change("JOB_DLQ_REMOVED", "dlq")

    def find_numbers(self) -> Iterator[ContractChange]:
        old, new = self.old, self.new
        before, after = old.max_deliver or MAX_DELIVER, new.max_deliver or MAX_DELIVER
        if after < before:
            yield self._change("QUEUE_MAX_DELIVER_LOWERED", "maxDeliver", words={"old": before, "new": after})
        waits = [tuple(job.backoff_ms) if job.backoff_ms is not None else BACKOFF_MS for job in (old, new)]
        if after > before or waits[0] != waits[1]:
            yield self._change("QUEUE_RETRY_CHANGED", "backoffMs" if waits[0] != waits[1] else "maxDeliver")
        ack, other_ack = old.ack_wait_ms or ACK_WAIT_MS, new.ack_wait_ms or ACK_WAIT_MS
        if ack != other_ack:
            yield self._change("QUEUE_ACK_WAIT_CHANGED", "ackWaitMs", words={"old": ack, "new": other_ack})
        deadline, other_deadline = old.default_deadline_ms, new.default_deadline_ms
        if other_deadline is not None and (deadline is None or other_deadline < deadline):
            yield self._change("QUEUE_DEADLINE_LOWERED", "defaultDeadlineMs", words={"new": other_deadline})
        running, others = old.concurrency or _CONCURRENCY, new.concurrency or _CONCURRENCY
        if running == 1 < others:
            yield self._change("QUEUE_CONCURRENCY_RAISED_FROM_ONE", "concurrency", words={"new": others})
        if others < running:
            yield self._change(
                "QUEUE_CONCURRENCY_LOWERED", "concurrency", words={"old": running, "new": others}
            )

    def find_keys(self, old: Manifest, new: Manifest) -> Iterator[ContractChange]:
        before, after = self.old.key_concurrency, self.new.key_concurrency
        if before is None or after is None:
            if after is not None:
                yield self._change("QUEUE_KEY_ADDED", "keyConcurrency")
            if before is not None:
                yield self._change("QUEUE_KEY_REMOVED")
            return
        place = ("keyConcurrency", "key")
        if before.key != after.key:
            words = {"old": ":".join(before.key), "new": ":".join(after.key)}
            yield self._change("QUEUE_KEY_CHANGED", *place, words=words)
        else:
            yield from self._find_key_types(old, new, before.key)
        active, others = before.max_active or MAX_ACTIVE, after.max_active or MAX_ACTIVE
        limits = {"old": active, "new": others}
        if others < active:
            yield self._change("QUEUE_MAX_ACTIVE_LOWERED", "keyConcurrency", "maxActive", words=limits)
        if others > active:
            grade = Grade.RISKY if active == 1 else Grade.SAFE
            yield self._change(
                "QUEUE_MAX_ACTIVE_RAISED", "keyConcurrency", "maxActive", words=limits, grade=grade
            )
        policy, other_policy = before.stale_policy or _STALE_POLICY, after.stale_policy or _STALE_POLICY
        if policy != other_policy:
            done = _FREED if other_policy == _STALE_POLICY else _TAKEN
            yield self._change(
                "QUEUE_STALE_POLICY_CHANGED", "keyConcurrency", "stalePolicy", words={"new": done}
            )
        renewal, lease = compute_heartbeat_ms(self.old)[0], compute_heartbeat_ms(self.new)[1]
        if lease <= renewal:
            times = {"old": renewal, "new": lease}
            yield self._change("QUEUE_LEASE_SHORTENED", "keyConcurrency", "heartbeatTtlMs", words=times)
        yield from self._find_waiting()

    def _find_key_types(self, old: Manifest, new: Manifest, key: list[str]) -> Iterator[ContractChange]:
        for segment in key:
            if not segment.startswith("/"):
                continue
            kinds = [
                _find_kinds((manifest.schemas or {}).get(job.payload.schema_name), segment)
                for manifest, job in ((old, self.old), (new, self.new))
            ]
            if kinds[0] != kinds[1]:
                words = {"name": segment, "old": kinds[0], "new": kinds[1]}
                yield self._change("QUEUE_KEY_TYPE_CHANGED", "keyConcurrency", "key", words=words)

    def _find_waiting(self) -> Iterator[ContractChange]:
        old, new = self.old.queue, self.new.queue
        before = (old.max_queued_per_key if old else None) or MAX_QUEUED_PER_KEY
        after = (new.max_queued_per_key if new else None) or MAX_QUEUED_PER_KEY
        if after < before:
            limits = {"old": before, "new": after}
            yield self._change("QUEUE_MAX_QUEUED_LOWERED", "queue", "maxQueuedPerKey", words=limits)
        full, other_full = (
            (old.when_full if old else None) or WHEN_FULL,
            (new.when_full if new else None) or WHEN_FULL,
        )
        if full == other_full:
            return
        words = {"old": full, "new": other_full}
        if other_full == "replace-oldest":
            yield self._change("QUEUE_WHEN_FULL_CHANGED", "queue", "whenFull", words=words)
        else:
            yield self._change(
                "QUEUE_WHEN_FULL_CHANGED",
                "queue",
                "whenFull",
                words=words,
                grade=Grade.RISKY,
                columns=(),
            )


def _find_kinds(schema: JsonValue, pointer: str) -> str:
    found = look_up(schema, pointer)
    return " or ".join(sorted(found.kinds - {"null"})) if found else "nothing"
