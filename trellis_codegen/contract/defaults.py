"""The defaults of job queues and event consumer groups. A test compares these numbers with those of trellis_nats.

Other platforms may have others: some give a queue 300 s where this one has an `ackWaitMs` of 30 s. A binding from their
control plane states every number, and then that number counts.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACK_WAIT_MS",
    "BACKOFF_MS",
    "CONCURRENCY",
    "GROUP_ACK_WAIT_MS",
    "GROUP_MAX_DELIVER",
    "HEARTBEATS_PER_LEASE",
    "HEARTBEAT_MAX_MS",
    "MAX_ACTIVE",
    "MAX_DELIVER",
    "MAX_QUEUED_PER_KEY",
    "STALE_POLICY",
    "STATE_VERSION",
    "WHEN_FULL",
]

MAX_DELIVER: Final = 5
"""How many attempts a job has."""
GROUP_MAX_DELIVER: Final = 6
"""How many attempts an event has in a consumer group."""
BACKOFF_MS: Final = (5_000, 30_000, 120_000, 600_000, 1_800_000)
"""The waits between attempts."""
ACK_WAIT_MS: Final = 30_000
"""How long a worker may be silent before its job is delivered again."""
GROUP_ACK_WAIT_MS: Final = 300_000
"""How long an instance may be silent before its event is delivered again."""
CONCURRENCY: Final = 1
"""How many handlers of a queue run at a time in one process."""
HEARTBEATS_PER_LEASE: Final = 3
HEARTBEAT_MAX_MS: Final = 30_000
"""A keyed job renews its lease every third of the ack wait, and at least this often."""
MAX_ACTIVE: Final = 1
"""How many jobs of one key may be active."""
MAX_QUEUED_PER_KEY: Final = 0
"""How many jobs of one key may wait."""
STALE_POLICY: Final = "fail-stale"
"""What happens to a slot whose lease has expired."""
STATE_VERSION: Final = "v1"
"""The version of the values of a state store."""
WHEN_FULL: Final = "reject"
"""What happens to a job whose key is full."""
