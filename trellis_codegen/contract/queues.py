"""The sections of work in the background: job queues and event consumer groups."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trellis_codegen.contract.defaults import (
    ACK_WAIT_MS,
    BACKOFF_MS,
    CONCURRENCY,
    GROUP_ACK_WAIT_MS,
    GROUP_MAX_DELIVER,
    MAX_ACTIVE,
    MAX_DELIVER,
    MAX_QUEUED_PER_KEY,
    STALE_POLICY,
    WHEN_FULL,
)
from trellis_codegen.contract.parts import NO_DOCS, Count, Docs, Natural, Part, SchemaRef, Text, member

__all__ = ["EventConsumer", "Job", "KeyConcurrency", "KeyQueue"]


class KeyConcurrency(Part):
    """How many jobs of one key may run at a time."""

    key: list[Text] = member(
        "What the key is made of: texts, and JSON pointers to required strings, integers or booleans of the payload.",
        example=["zendesk", "/origin", "tickets"],
        python="`KeySpec.template`",
        min_length=1,
    )
    max_active: Count | None = member(
        "How many jobs of a key may be active, in all processes together.",
        default=MAX_ACTIVE,
        example=1,
        python="`KeySpec.max_active`",
    )
    heartbeat_interval_ms: Count | None = member(
        "How often an active job renews its slot. It is shorter than `heartbeatTtlMs`.",
        absent="a third of `ackWaitMs`, at most 30000",
        example=10_000,
        python="`KeySpec.heartbeat_interval`, a timedelta",
    )
    heartbeat_ttl_ms: Count | None = member(
        "How long a slot is held without renewal.",
        absent="`ackWaitMs`, at least three intervals",
        example=30_000,
        python="`KeySpec.lease`, a timedelta",
    )
    stale_policy: Literal["fail-stale", "block"] | None = member(
        "What happens to the slot of a dead worker. `fail-stale`: the next job of the key takes it, and the dead worker's job may end as "
        "`stale` and never run. `block`: the slot waits for its own job, which runs again.",
        default=STALE_POLICY,
        example="fail-stale",
        python="`KeySpec.stale_policy`",
    )


class KeyQueue(Part):
    """How many jobs of one key may wait, and what happens to further jobs. It needs `keyConcurrency`."""

    max_queued_per_key: Natural | None = member(
        "How many jobs of a key may wait while its slots are taken. With 0 none waits: `create` refuses a job beyond `maxActive`.",
        default=MAX_QUEUED_PER_KEY,
        example=1,
        python="`KeySpec.max_queued`",
    )
    when_full: Literal["reject", "coalesce", "replace-oldest"] | None = member(
        "What happens to a job beyond that: it is refused, joins the job that is there, or replaces the one that waited longest.",
        default=WHEN_FULL,
        example="reject",
        python="`KeySpec.when_full`; `submit` returns what happened",
    )


class Job(Part):
    """A queue of background jobs. It is private to the service."""

    payload: SchemaRef = member(
        "The schema of what a job works on.",
        example={"schema": "ReserveInventoryPayload"},
        python="`job.payload`, and the parameter of `create`",
    )
    result: SchemaRef | None = member(
        "The schema of what a job gives.",
        absent="handlers return None",
        example={"schema": "ReserveInventoryResult"},
        python="what the handler returns, and what `await ref.result()` gives",
    )
    update: SchemaRef | None = member(
        "The schema of live updates, which are not stored.",
        absent="jobs send none",
        example={"schema": "ReserveInventoryUpdate"},
        python="the parameter of `job.emit_update(…)`",
    )
    max_deliver: Count | None = member(
        "How many attempts a job has. After the last one it is dead, and waits for an operator.",
        default=MAX_DELIVER,
        example=5,
        python="`JobSpec.max_deliver`",
    )
    backoff_ms: list[Natural] | None = member(
        "The waits between attempts; the last one repeats. An empty list: no wait.",
        default=[*BACKOFF_MS],
        example=[5_000, 30_000, 120_000],
        python="`JobSpec.backoff`, timedeltas",
    )
    ack_wait_ms: Count | None = member(
        "How soon a dead worker is noticed. A live one sends heartbeats, so this does not limit how long a handler runs.",
        default=ACK_WAIT_MS,
        example=60_000,
        python="`JobSpec.ack_wait`, a timedelta",
    )
    default_deadline_ms: Count | None = member(
        "How long after its creation a job expires. `create(deadline=…)` states another instant for one job.",
        absent="a job does not expire",
        example=86_400_000,
        python="`JobSpec.default_deadline`, a timedelta",
    )
    progress: bool | None = member(
        "Whether handlers may report progress.",
        default=True,
        example=True,
        python="false: `job.progress(…)` raises `ConfigurationError`",
    )
    logs: bool | None = member(
        "Whether handlers may write log lines into the history of a job.",
        default=True,
        example=True,
        python="false: `job.log(…)` raises `ConfigurationError`",
    )
    dlq: bool | None = member(
        "Whether a job without attempts left is kept as dead. It always is: `false` is not enforced.",
        default=True,
        example=True,
    )
    concurrency: Count | None = member(
        "How many handlers of this queue run at a time in one process. `handle(concurrency=…)` states another number.",
        default=CONCURRENCY,
        example=4,
        python="`JobSpec.concurrency`",
    )
    key_concurrency: KeyConcurrency | None = member(
        "Limits the jobs of one key.", absent="jobs have no keys", python="`JobSpec.key`, a `KeySpec`"
    )
    queue: KeyQueue | None = member(
        "How many jobs of a key may wait, and what happens to further ones.",
        absent="none waits: `create` refuses a job beyond `maxActive`",
        python="members of `KeySpec`",
    )
    docs: Docs | None = member("For the docstring of the queue.", absent=NO_DOCS)


class EventConsumer(Part):
    """A durable group of consumers: each event is handled by one process of it, in order."""

    uses: dict[Text, Annotated[list[Text], Field(min_length=1)]] | None = member(
        "Events of other contracts, by the alias under `uses`, where each is subscribed to.",
        default={},
        example={"customers": ["Customers.Moved"]},
        python="`service.consumers.audit.customers_moved.handle`",
    )
    self_events: list[Text] | None = member(
        "Events of this contract.",
        absent="it has none of them",
        alias="self",
        example=["Orders.Shipped"],
        python="`service.consumers.audit.orders_shipped.handle`",
        min_length=1,
    )
    replay: Literal["new", "all"] | None = member(
        "Where a new group begins: with what is published from then on, or with the oldest event that is stored.",
        default="new",
        example="all",
        python="`GroupSpec.replay`",
    )
    ordering: Literal["strict"] | None = member(
        "Events are handled in order.", default="strict", example="strict"
    )
    concurrency: Count | None = member(
        "How many events are handled at a time. Events in order need 1.",
        default=1,
        example=1,
        python="`GroupSpec.concurrency`",
    )
    ack_wait_ms: Count | None = member(
        "How soon a dead process is noticed. A live one sends heartbeats, so this does not limit how long a handler runs.",
        default=GROUP_ACK_WAIT_MS,
        example=60_000,
        python="`GroupSpec.ack_wait`, a timedelta",
    )
    max_deliver: Count | None = member(
        "How many attempts an event has. After the last one the group logs it and goes on.",
        default=GROUP_MAX_DELIVER,
        example=6,
        python="`GroupSpec.max_deliver`",
    )
    backoff_ms: list[Natural] | None = member(
        "The waits between attempts; the last one repeats. An empty list: no wait.",
        default=[*BACKOFF_MS],
        example=[1_000, 30_000],
        python="`GroupSpec.backoff`, timedeltas",
    )
    docs: Docs | None = member("For the docstring of the group.", absent=NO_DOCS)
