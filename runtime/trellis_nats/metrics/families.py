"""What the runtime counts: names, units and labels. Pure.

The names are those of Prometheus: a counter ends with `_total`, and a duration is in seconds. They are part of the interface.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = [
    "BUCKETS",
    "EVENTS_HANDLED",
    "EVENTS_POSTPONED",
    "FAMILIES",
    "HEARTBEAT_LATE",
    "JOBS_DEAD",
    "JOBS_FETCHED",
    "JOBS_POSTPONED",
    "JOBS_RUNNING",
    "JOB_ATTEMPTS",
    "JOB_RUN",
    "JOB_SLOTS",
    "JOB_WAIT",
    "KEY_WAIT",
    "KEY_WAITING",
    "LOOP_LAG",
    "QUEUE_CONSUMING",
    "QUEUE_PAUSED",
    "REMOVED_QUEUE_JOBS",
    "RPC_CALLS",
    "MetricFamily",
    "MetricKind",
]

MetricKind: TypeAlias = Literal["counter", "gauge", "histogram"]

BUCKETS: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    900.0,
    3600.0,
)
"""The upper bounds of the buckets of every histogram, in seconds: from a quick handler to an hour."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricFamily:
    """One kind of measurement, with a value for each combination of its labels."""

    name: str
    kind: MetricKind
    labels: tuple[str, ...]
    help: str
    """What it measures, in a sentence."""


JOB_ATTEMPTS: Final = MetricFamily(
    name="trellis_job_attempts_total",
    kind="counter",
    labels=("queue", "outcome"),
    help="Attempts of jobs that ended in this process.",
)
JOB_RUN: Final = MetricFamily(
    name="trellis_job_run_seconds",
    kind="histogram",
    labels=("queue",),
    help="Time from the start of an attempt until its outcome is stored.",
)
JOB_WAIT: Final = MetricFamily(
    name="trellis_job_wait_seconds",
    kind="histogram",
    labels=("queue",),
    help="Time from when a job may begin until its first attempt.",
)
JOBS_DEAD: Final = MetricFamily(
    name="trellis_jobs_dead_total",
    kind="counter",
    labels=("queue",),
    help="Jobs without attempts left that this process marked as dead.",
)
JOBS_POSTPONED: Final = MetricFamily(
    name="trellis_jobs_postponed_by_version_total",
    kind="counter",
    labels=("queue",),
    help="Deliveries of jobs that another version of the contract wrote, and that this one cannot read.",
)
JOBS_FETCHED: Final = MetricFamily(
    name="trellis_jobs_fetched_total",
    kind="counter",
    labels=("queue",),
    help="Deliveries of jobs that this process has taken, redeliveries included.",
)
JOBS_RUNNING: Final = MetricFamily(
    name="trellis_jobs_running",
    kind="gauge",
    labels=("queue",),
    help="Attempts that run now in this process.",
)
JOB_SLOTS: Final = MetricFamily(
    name="trellis_job_slots",
    kind="gauge",
    labels=("queue",),
    help="How many handlers of the queue may run at a time in this process.",
)
KEY_WAIT: Final = MetricFamily(
    name="trellis_key_wait_seconds",
    kind="histogram",
    labels=("queue",),
    help="Time that jobs in this process waited for a slot of their key, until they had it.",
)
KEY_WAITING: Final = MetricFamily(
    name="trellis_jobs_waiting_for_key",
    kind="gauge",
    labels=("queue",),
    help="Jobs in this process that wait now for a slot of their key.",
)
QUEUE_CONSUMING: Final = MetricFamily(
    name="trellis_queue_consuming",
    kind="gauge",
    labels=("queue",),
    help="1 while the server takes the pull requests of this process for the queue, else 0.",
)
QUEUE_PAUSED: Final = MetricFamily(
    name="trellis_queue_paused",
    kind="gauge",
    labels=("queue",),
    help="1 while the queue is paused for the workers of this process, else 0.",
)
REMOVED_QUEUE_JOBS: Final = MetricFamily(
    name="trellis_removed_queue_jobs",
    kind="gauge",
    labels=("queue",),
    help="Jobs in a queue that this version of the contract does not have, as found when the service started.",
)
HEARTBEAT_LATE: Final = MetricFamily(
    name="trellis_heartbeat_late_seconds",
    kind="histogram",
    labels=(),
    help="How late progress acks were sent, which keep the jobs of this process from being redelivered.",
)
LOOP_LAG: Final = MetricFamily(
    name="trellis_loop_lag_seconds",
    kind="histogram",
    labels=(),
    help="How late a timer fired that the event loop runs every half second.",
)
EVENTS_HANDLED: Final = MetricFamily(
    name="trellis_events_handled_total",
    kind="counter",
    labels=("group", "outcome"),
    help="Events of groups that were handled, or removed, in this process.",
)
EVENTS_POSTPONED: Final = MetricFamily(
    name="trellis_events_postponed_by_version_total",
    kind="counter",
    labels=("group",),
    help="Deliveries of events that another version of the contract wrote, and that this one cannot read.",
)
RPC_CALLS: Final = MetricFamily(
    name="trellis_rpc_calls_total",
    kind="counter",
    labels=("rpc", "outcome"),
    help="Calls that this process answered, or did not answer in time.",
)

FAMILIES: Final = (
    JOB_ATTEMPTS,
    JOB_RUN,
    JOB_WAIT,
    JOBS_DEAD,
    JOBS_POSTPONED,
    JOBS_FETCHED,
    JOBS_RUNNING,
    JOB_SLOTS,
    KEY_WAIT,
    KEY_WAITING,
    QUEUE_CONSUMING,
    QUEUE_PAUSED,
    REMOVED_QUEUE_JOBS,
    HEARTBEAT_LATE,
    LOOP_LAG,
    EVENTS_HANDLED,
    EVENTS_POSTPONED,
    RPC_CALLS,
)
"""All of them, in the order of the guide."""
