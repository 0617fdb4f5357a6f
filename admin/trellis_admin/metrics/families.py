"""What the admin tools measure about a fleet: names, units and labels. Pure.

What one process counts is in `trellis_nats.metrics`; these are about all processes, from the stream and the server. So they begin
with `trellis_fleet_`: both may be in one Prometheus. They are part of the interface, and the board and the alert rules of
`docs/operate` use them.
"""

from __future__ import annotations

from typing import Final

from trellis_nats.metrics import MetricFamily

__all__ = [
    "CONSUMER_MESSAGES",
    "DUTY_JOBS",
    "ERROR_GROUP_JOBS",
    "FLEET_FAMILIES",
    "IS_LEADER",
    "JOBS",
    "KEY_WAITS",
    "OLDEST",
    "PAUSED",
    "PROJECTION_AGE",
    "PROJECTION_COMPLETE",
    "PROJECTION_LAG",
    "PROJECTION_SEQUENCE",
    "QUEUE_WORKERS",
    "RECENT_EVENTS",
    "RETRIES_DUE",
    "RUN_TIME",
    "SERVER_ANSWERS",
    "SLOTS",
    "SOURCE_LAG",
    "STREAM_BYTES",
    "STREAM_MESSAGES",
    "STREAM_SEQUENCE",
    "UNSOURCED",
    "WAIT_TIME",
    "WORKERS",
]

_QUEUE: Final = ("service", "queue")


def _gauge(name: str, labels: tuple[str, ...], help_text: str) -> MetricFamily:
    return MetricFamily(name=f"trellis_fleet_{name}", kind="gauge", labels=labels, help=help_text)


JOBS: Final = _gauge("jobs", (*_QUEUE, "state"), "Jobs of a queue in each state.")
OLDEST: Final = _gauge(
    "oldest_waiting_seconds",
    _QUEUE,
    "How long the pending job has waited that could have begun first; 0 where none could.",
)
RETRIES_DUE: Final = _gauge(
    "retries_due", _QUEUE, "Retries whose time has come, and that no worker has begun."
)
SLOTS: Final = _gauge("slots", _QUEUE, "How many jobs the workers of a queue run at most.")
QUEUE_WORKERS: Final = _gauge("queue_workers", _QUEUE, "Workers of a queue that are not silent.")
PAUSED: Final = _gauge("paused", _QUEUE, "1 while a queue is paused, else 0.")
RECENT_EVENTS: Final = _gauge(
    "recent_events",
    (*_QUEUE, "event"),
    "Jobs that were created, completed, ended badly or died, and attempts that failed, in the last 5 minutes.",
)
RUN_TIME: Final = _gauge(
    "run_seconds",
    (*_QUEUE, "percentile"),
    "How long attempts took in the last 5 minutes; absent where none ended.",
)
WAIT_TIME: Final = _gauge(
    "wait_seconds",
    (*_QUEUE, "percentile"),
    "How long jobs waited that could begin, in the last 5 minutes; absent where none began.",
)
KEY_WAITS: Final = _gauge(
    "key_waiting_jobs", _QUEUE, "Jobs that wait while another job of their concurrency key runs."
)
ERROR_GROUP_JOBS: Final = _gauge(
    "error_group_jobs",
    (*_QUEUE, "fingerprint", "error_type"),
    'Dead jobs with alike errors. Beyond the 50 largest groups, one sample of each queue with the fingerprint "other".',
)
WORKERS: Final = _gauge("workers", ("service", "state"), "Processes that are live, stopping or silent.")
CONSUMER_MESSAGES: Final = _gauge(
    "consumer_messages",
    (*_QUEUE, "kind"),
    "Work messages that were not delivered yet (pending), and those that were delivered and not acknowledged.",
)
UNSOURCED: Final = _gauge(
    "oldest_without_work_seconds",
    _QUEUE,
    "How long the oldest accepted job has waited for which no work message was found; 0 where each has one.",
)
SOURCE_LAG: Final = _gauge(
    "source_lag_messages",
    ("stream",),
    "What the server reports about messages that a stream has not sourced yet. A stall may be reported as 0.",
)
STREAM_SEQUENCE: Final = _gauge(
    "stream_last_sequence", ("stream",), "The sequence of the newest message of a stream."
)
STREAM_MESSAGES: Final = _gauge("stream_messages", ("stream",), "Messages of a stream.")
STREAM_BYTES: Final = _gauge("stream_bytes", ("stream",), "The size of a stream.")
PROJECTION_SEQUENCE: Final = _gauge(
    "projection_sequence", (), "The sequence of stream JOBS up to which these numbers are."
)
PROJECTION_LAG: Final = _gauge(
    "projection_lag_events", (), "Events that are stored and not counted here yet."
)
PROJECTION_AGE: Final = _gauge(
    "projection_age_seconds",
    (),
    "How old the newest counted event is, while others are not counted yet; else 0.",
)
PROJECTION_COMPLETE: Final = _gauge(
    "projection_complete",
    (),
    "0 during the first reading of the stream, when the numbers are of the past; else 1.",
)
SERVER_ANSWERS: Final = _gauge(
    "server_answers",
    ("part",),
    "1 where the server answered what was asked for these numbers, else 0: the part of them is missing.",
)
IS_LEADER: Final = _gauge("duties_leader", (), "1 in the replica that runs the duties, else 0.")
DUTY_JOBS: Final = MetricFamily(
    name="trellis_fleet_duty_jobs_total",
    kind="counter",
    labels=("outcome",),
    help="Jobs that the duties of this process ended: expired, or dead.",
)

FLEET_FAMILIES: Final = (
    JOBS,
    OLDEST,
    RETRIES_DUE,
    SLOTS,
    QUEUE_WORKERS,
    PAUSED,
    RECENT_EVENTS,
    RUN_TIME,
    WAIT_TIME,
    KEY_WAITS,
    ERROR_GROUP_JOBS,
    WORKERS,
    CONSUMER_MESSAGES,
    UNSOURCED,
    SOURCE_LAG,
    STREAM_SEQUENCE,
    STREAM_MESSAGES,
    STREAM_BYTES,
    PROJECTION_SEQUENCE,
    PROJECTION_LAG,
    PROJECTION_AGE,
    PROJECTION_COMPLETE,
    SERVER_ANSWERS,
    IS_LEADER,
    DUTY_JOBS,
)
"""All of them, in the order of the guide."""
