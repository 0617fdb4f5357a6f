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
    "JOBS_DEAD",
    "JOBS_POSTPONED",
    "JOB_ATTEMPTS",
    "JOB_RUN",
    "JOB_WAIT",
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
    QUEUE_PAUSED,
    REMOVED_QUEUE_JOBS,
    EVENTS_HANDLED,
    EVENTS_POSTPONED,
    RPC_CALLS,
)
"""All of them, in the order of the guide."""
