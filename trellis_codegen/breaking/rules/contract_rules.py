"""The rules about contracts outside of schemas, as data."""

from __future__ import annotations

from typing import Final

from trellis_codegen.breaking.rules.grades import Column, Grade
from trellis_codegen.breaking.rules.rule import ContractRule, Remedy

__all__ = ["CONTRACT_RULES"]

_COLUMNS: Final = {
    "P": Column.PRODUCERS,
    "Q": Column.QUEUED,
    "W": Column.OLD_WORKERS,
    "C": Column.CALLERS,
    "L": Column.LISTENERS,
    "D": Column.DEAD,
    "S": Column.STORED,
    "A": Column.OPERATORS,
    "X": Column.IMPORTERS,
}


def _rules(surface: str, *rows: tuple[str, str, str, Remedy, str, str]) -> list[ContractRule]:
    return [
        ContractRule(
            id=name,
            surface=surface,
            what=what,
            columns=tuple(_COLUMNS[letter] for letter in letters.rstrip("~")),
            grade=Grade(grade),
            message=message,
            remedy=remedy,
            only_during_deploy=letters.endswith("~"),
        )
        for name, letters, grade, remedy, what, message in rows
    ]


_CONTRACT = _rules(
    "The contract",
    ("CONTRACT_ID_CHANGED", "PQCLDSA", "break", Remedy.SERVE_BOTH, "`id`",
     'the contract was "{old}", and is "{new}": every subject of jobs, every right and every `uses` names the old id'),
    ("CONTRACT_KIND_CHANGED", "A", "break", Remedy.SERVE_BOTH, "`kind`",
     "the kind was {old}, and is {new}: it is installed by another command, under other rules"),
    ("CAPABILITY_REMOVED", "PA", "break", Remedy.SERVE_BOTH, "a declared capability is gone",
     "grants of {name} become void"),
    ("CAPABILITY_ADDED", "", "safe", Remedy.NOTHING, "a new capability",
     "no caller needs {name} yet"),
    ("EXPORT_REMOVED", "X", "break", Remedy.SERVE_BOTH, "`exports.schemas` lacks a name",
     "packages that use {name} no longer build"),
    ("SCHEMA_RENAMED", "X", "risky", Remedy.ALIAS, "another name of the same schema",
     "the class of {old} is that of {new} now"),
    ("SURFACE_ADDED", "", "safe", Remedy.NOTHING, "a new RPC, operation, event, feed, queue, group, bucket, store or state",
     "it is new; old instances do not serve it while a deploy runs, and take no job of a queue that they do not know"),
    ("DOCS_CHANGED", "", "safe", Remedy.NOTHING, "names and texts for people",
     "names and texts for people are not in the digest"),
)  # fmt: skip

_JOBS = _rules(
    "Job queues",
    ("QUEUE_REMOVED", "QDP", "break", Remedy.DRAIN, "a queue is gone",
     "jobs may wait in {old}, and no worker takes them any more"),
    ("QUEUE_RENAMED", "QDP", "break", Remedy.DRAIN, "one queue is gone, one is new, with the same payload",
     "a queue's name is part of its subjects: the jobs of {old} are not in {new}"),
    ("JOB_RESULT_ADDED", "C", "break", Remedy.READERS_FIRST, "`result` where there was none",
     "jobs completed before have no result; `result()` of those raises"),
    ("JOB_RESULT_REMOVED", "C~", "risky", Remedy.COPE_WITH_BOTH, "`result` is gone",
     "old waiters expect a result"),
    ("JOB_UPDATE_REMOVED", "C", "risky", Remedy.COPE_WITH_BOTH, "`update`, `progress` or `logs` is gone",
     "watchers see no {name} any more"),
    ("JOB_DLQ_REMOVED", "D", "risky", Remedy.COPE_WITH_BOTH, "`dlq` is off",
     "where it is enforced, jobs that fail from now on cannot be replayed"),
    ("QUEUE_KEY_CHANGED", "QW", "break", Remedy.DRAIN_TO_CHANGE, "another key template",
     "queued and active jobs hold places under the key {old}, new ones under {new}: two jobs of one key may run at once"),
    ("QUEUE_KEY_TYPE_CHANGED", "QW", "break", Remedy.DRAIN_TO_CHANGE, "another type of a member that the key points at",
     '{name} was {old}, and is {new}: `5` and `"5"` are two keys'),
    ("QUEUE_KEY_ADDED", "W~", "risky", Remedy.COPE_WITH_BOTH, "a queue without keys has them",
     "old workers ignore keys: until every old instance has ended, two jobs of one key may run at once"),
    ("QUEUE_KEY_REMOVED", "W", "risky", Remedy.COPE_WITH_BOTH, "a queue with keys has none",
     "jobs of one key may run at once from now on"),
    ("QUEUE_MAX_ACTIVE_LOWERED", "W", "risky", Remedy.COPE_WITH_BOTH, "`maxActive` is lower",
     "until every old instance has ended, more than {new} jobs of a key may be active"),
    ("QUEUE_MAX_ACTIVE_RAISED", "W", "risky", Remedy.COPE_WITH_BOTH, "`maxActive` is higher; safe if it was above 1",
     "{new} handlers of one key may run at once now"),
    ("QUEUE_MAX_QUEUED_LOWERED", "", "risky", Remedy.COPE_WITH_BOTH, "`maxQueuedPerKey` is lower",
     "`create` of this version is refused sooner: {new} jobs of a key may wait, {old} before; old producers keep their limit, and what waits stays"),
    ("QUEUE_WHEN_FULL_CHANGED", "PQ", "break", Remedy.SERVE_BOTH, "`whenFull`: to `replace-oldest` a break, else risky",
     "a job whose key is full: {new}, and {old} before"),
    ("QUEUE_STALE_POLICY_CHANGED", "W", "risky", Remedy.COPE_WITH_BOTH, "`stalePolicy`",
     "when a worker dies, the key of its job {new} now"),
    ("QUEUE_LEASE_SHORTENED", "", "safe", Remedy.NOTHING, "`heartbeatTtlMs` is not above what old holders renew within",
     "a lease lasts as long as its holder wrote: old workers, which renew every {old} ms, keep their keys next to leases of {new} ms"),
    ("QUEUE_DEADLINE_LOWERED", "", "risky", Remedy.COPE_WITH_BOTH, "`defaultDeadlineMs` is lower, or new",
     "jobs that this version creates expire after {new} ms; those of old producers, and queued ones, keep theirs, which travels in the job"),
    ("QUEUE_MAX_DELIVER_LOWERED", "", "safe", Remedy.NOTHING, "`maxDeliver` is lower",
     "queued jobs keep theirs: the number of attempts travels in the job"),
    ("QUEUE_RETRY_CHANGED", "", "safe", Remedy.NOTHING, "`maxDeliver` is higher, or `backoffMs` differs",
     "waits are read at each retry, by the worker"),
    ("QUEUE_ACK_WAIT_CHANGED", "", "safe", Remedy.NOTHING, "`ackWaitMs`",
     "heartbeats are automatic, and a consumer that differs is tolerated; workers in Rust refuse to start with it"),
    ("QUEUE_CONCURRENCY_RAISED_FROM_ONE", "W", "risky", Remedy.COPE_WITH_BOTH, "`concurrency` is above 1",
     "{new} handlers of one process may run at once now"),
    ("QUEUE_CONCURRENCY_LOWERED", "", "safe", Remedy.NOTHING, "`concurrency` is lower",
     "the queue is slower, nothing else"),
)  # fmt: skip

_CALLS = _rules(
    "RPCs and errors",
    ("RPC_REMOVED", "P", "break", Remedy.SERVE_BOTH, "an RPC is gone",
     "callers of {name} get no responders"),
    ("RPC_SUBJECT_CHANGED", "P", "break", Remedy.SERVE_BOTH, "`subject` or `version`",
     "callers ask at {old}, and it answers at {new}"),
    ("RPC_BECAME_INTERNAL", "PX", "break", Remedy.SERVE_BOTH, "`internal`",
     "it leaves the client package and its rights"),
    ("RPC_TRANSFER_CHANGED", "PC", "break", Remedy.SERVE_BOTH, "`transfer`: added, removed, other direction",
     "the answer is {new} now"),
    ("RPC_ERROR_ADDED", "C", "risky", Remedy.READERS_FIRST, "a declared error, of an operation too",
     "old callers get {name} as a remote error without a type"),
    ("RPC_ERROR_REMOVED", "", "safe", Remedy.NOTHING, "a declared error is gone",
     "{name} is never raised again; old instances may, while a deploy runs"),
    ("ERROR_TYPE_CHANGED", "C", "break", Remedy.READERS_FIRST, "`errors.*.type`",
     "handlers for {old} do not match {new}"),
    ("ERROR_SCHEMA_ADDED", "C~", "risky", Remedy.COPE_WITH_BOTH, "data where there was none",
     "old callers ignore the data; new callers of an old instance get a remote error without a type"),
    ("ERROR_SCHEMA_REMOVED", "C", "break", Remedy.STOP_READING_FIRST, "data is gone",
     "callers read data that no longer comes"),
    ("CALL_CAPABILITY_ADDED", "PA", "break", Remedy.GRANT_FIRST, "a right in `capabilities.call`, `observe`, `cancel`, `control`",
     "callers without {name} are refused"),
    ("CALL_CAPABILITY_REMOVED", "A", "risky", Remedy.COPE_WITH_BOTH, "a right is no longer required: risky if none is left, else safe",
     "callers without {name} are served now"),
)  # fmt: skip

_OPERATIONS = _rules(
    "Operations",
    ("OPERATION_REMOVED", "PCS", "break", Remedy.SERVE_BOTH, "an operation is gone",
     "callers of {name} get no responders; running ones keep their records, and no process serves them"),
    ("OPERATION_SUBJECT_CHANGED", "PC", "break", Remedy.SERVE_BOTH, "`subject` or `version`",
     "callers ask at {old}, and it answers at {new}; the control subject moves too"),
    ("OPERATION_CANCEL_REMOVED", "P", "break", Remedy.SERVE_BOTH, "`cancel` is off",
     "callers can no longer cancel"),
    ("OPERATION_SIGNAL_REMOVED", "PS", "break", Remedy.SERVE_BOTH, "a signal is gone",
     "callers still send {name}, and running operations wait for it"),
    ("OPERATION_PROGRESS_REMOVED", "C", "risky", Remedy.COPE_WITH_BOTH, "`progress` is gone",
     "watchers see the end only"),
    ("OPERATION_TRANSFER_CHANGED", "PS", "break", Remedy.SERVE_BOTH, "`transfer`; another `contentType` or `metadata`, or a lower limit, is risky",
     "{name} {new}: uploads may fail, and what was uploaded is not where it is looked for"),
)  # fmt: skip

_EVENTS = _rules(
    "Events, groups and feeds",
    ("EVENT_REMOVED", "L", "break", Remedy.SERVE_BOTH, "an event is gone",
     "listeners receive {name} no longer, and what the stream kept has no reader"),
    ("EVENT_SUBJECT_CHANGED", "L", "break", Remedy.SERVE_BOTH, "`subject` or `version`",
     "old listeners listen at {old}, and it is published at {new}; kept events stay there"),
    ("EVENT_PARAMS_CHANGED", "L", "break", Remedy.SERVE_BOTH, "`params`: added, removed, other order",
     'the subject has other tokens, "{new}" instead of "{old}": filters no longer match'),
    ("PUBLISH_CAPABILITY_ADDED", "PA", "break", Remedy.GRANT_FIRST, "a right in `capabilities.publish`",
     "old publishers without {name} are refused"),
    ("SUBSCRIBE_CAPABILITY_ADDED", "LA", "break", Remedy.GRANT_FIRST, "a right in `capabilities.subscribe`, of a feed too",
     "listeners without {name} are refused"),
    ("GROUP_REMOVED", "SA", "break", Remedy.DRAIN, "a consumer group is gone",
     "the durable consumer of {old} stays, and keeps its backlog"),
    ("GROUP_RENAMED", "S", "break", Remedy.KEEP_NAME, "one group is gone, one is new, with the same events",
     "{new} has a cursor of its own: with `all`, every event of {old} is handled again, with `new`, the backlog is lost"),
    ("GROUP_EVENT_REMOVED", "S", "risky", Remedy.DRAIN, "an event is no longer in a group",
     "{name} in the backlog has no handler any more"),
    ("GROUP_EVENT_ADDED", "WA", "risky", Remedy.APPLY_FIRST, "an event is new in a group",
     "the group does not start until its consumer has {name}, for which old instances have no handler"),
    ("GROUP_REPLAY_CHANGED", "", "risky", Remedy.PLAN, "`replay`",
     "{new} holds for new cursors only: the existing one stays where it is"),
    ("FEED_REMOVED", "L", "break", Remedy.SERVE_BOTH, "a feed is gone",
     "subscribers of {name} get no responders"),
    ("FEED_SUBJECT_CHANGED", "L", "break", Remedy.SERVE_BOTH, "`subject` or `version`",
     "subscribers ask at {old}, and it answers at {new}"),
)  # fmt: skip

_RESOURCES = _rules(
    "Buckets, stores and state",
    ("KV_REMOVED", "S", "break", Remedy.PLAN, "a bucket is gone",
     "the values of {name} stay, and no process reads them"),
    ("KV_HISTORY_LOWERED", "S", "risky", Remedy.PLAN, "`history` is lower",
     "older revisions are dropped when it is applied: {new} are kept, {old} before"),
    ("KV_TTL_LOWERED", "S", "break", Remedy.PLAN, "`ttlMs` is lower, or new",
     "values older than {new} ms vanish at once when it is applied"),
    ("KV_MAX_VALUE_LOWERED", "PS", "risky", Remedy.PLAN, "`maxValueBytes` is lower",
     "values above {new} bytes stay readable, and cannot be written again"),
    ("KV_BECAME_REQUIRED", "A", "risky", Remedy.PLAN, "`required`, of a store too",
     "a start fails where it was not provisioned"),
    ("KV_LIMIT_RAISED", "", "safe", Remedy.NOTHING, "`history`, `ttlMs` or `maxValueBytes` is higher",
     "{name} is larger; it is applied on purpose"),
    ("STORE_REMOVED", "S", "break", Remedy.PLAN, "a store is gone",
     "the files of {name} stay, and no process reads them"),
    ("STORE_TTL_LOWERED", "S", "break", Remedy.PLAN, "`ttlMs` is lower, or new",
     "files older than {new} ms vanish at once when it is applied"),
    ("STORE_LIMIT_LOWERED", "PS", "risky", Remedy.PLAN, "`maxObjectBytes` or `maxTotalBytes` is lower",
     "{name} is {new} now: larger uploads are refused, and a store that is fuller takes nothing"),
    ("STATE_REMOVED", "S", "break", Remedy.NEW_VERSION, "a state store is gone",
     "values of users in {name} are out of reach"),
    ("STATE_KIND_CHANGED", "SW", "break", Remedy.NEW_VERSION, "`kind`: a value or a map",
     "it was a {old}, and is a {new}: other keys, so nothing is found"),
    ("STATE_VERSION_NOT_ACCEPTED", "SW", "break", Remedy.NEW_VERSION, "`stateVersion` differs, and the old one is not accepted",
     "each read of an entry of {old} asks for a migration that no code has"),
    ("STATE_ACCEPTED_REMOVED", "S", "break", Remedy.NEW_VERSION, "a version is gone from `acceptedVersions`",
     "entries of {name} can no longer be read"),
)  # fmt: skip

_USES = _rules(
    "Uses of other contracts",
    ("USES_REQUIRED_ADDED", "A", "break", Remedy.OPTIONAL_FIRST, "a new required use, or an optional one is required",
     "it cannot start where {contract} is not active"),
    ("USES_OPTIONAL_ADDED", "", "safe", Remedy.NOTHING, "a new optional use",
     "without {contract} there is no client"),
    ("USES_ITEM_ADDED", "A", "risky", Remedy.GRANT_FIRST, "one more RPC, operation, event or feed of a used contract",
     "it needs the right to {verb} {name}, which {contract} must have"),
    ("USES_CONTRACT_CHANGED", "AX", "break", Remedy.SECOND_ALIAS, "an alias names another contract",
     "other subjects and other types under the same name: {new} instead of {old}"),
    ("USES_REMOVED", "", "safe", Remedy.NOTHING, "a use, or a part of one, is gone",
     "fewer rights: {name}"),
)  # fmt: skip

CONTRACT_RULES: Final = {
    rule.id: rule for rule in [*_CONTRACT, *_JOBS, *_CALLS, *_OPERATIONS, *_EVENTS, *_RESOURCES, *_USES]
}
"""The rules by their id."""
