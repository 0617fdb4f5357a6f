"""All checks, in the order in which their findings are listed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from trellis_admin.doctor import queue_checks as queues
from trellis_admin.doctor import server_checks as servers
from trellis_admin.doctor import stream_checks as streams
from trellis_admin.doctor.facts import Facts
from trellis_admin.doctor.findings import Finding, Severity
from trellis_admin.doctor.projection_check import check_differences

__all__ = ["CHECKS", "examine"]

CHECKS: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    servers.check_jetstream,
    servers.check_version,
    servers.check_max_payload,
    servers.check_clock,
    servers.check_storage,
    servers.check_readable,
    servers.check_wide_permissions,
    streams.check_missing_streams,
    streams.check_retention,
    streams.check_direct_reads,
    streams.check_renamed_subjects,
    streams.check_sources,
    streams.check_stalled_source,
    streams.check_atomic_batches,
    streams.check_schedules,
    streams.check_limits,
    streams.check_full_streams,
    streams.check_max_age,
    streams.check_message_size,
    streams.check_replicas,
    streams.check_leaders,
    streams.check_buckets,
    streams.check_keys_ttl,
    queues.check_backoff,
    queues.check_max_deliver,
    queues.check_platform,
    queues.check_consumer_filters,
    queues.check_bodies,
    queues.check_two_ack_waits,
    queues.check_max_ack_pending,
    queues.check_exhausted,
    queues.check_unknown_consumers,
    queues.check_pauses,
    queues.check_unworked,
    queues.check_version_waits,
    queues.check_standing,
    queues.check_workers,
    queues.check_blocked,
    queues.check_dead,
    queues.check_stale,
    queues.check_advisories,
    queues.check_removed_queues,
    queues.check_contracts,
    check_differences,
    servers.check_sync_interval,
    servers.check_last_msg_id,
)

_ORDER: Final = tuple(Severity)


def examine(facts: Facts) -> list[Finding]:
    """Return what is wrong, the worst first."""
    found = [finding for check in CHECKS for finding in check(facts)]
    return sorted(found, key=lambda finding: _ORDER.index(finding.severity))
