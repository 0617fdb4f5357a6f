"""Checks of the server and the account."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from trellis_nats._support.plural import plural
from trellis_nats.jobs.model.job_streams import SCHEDULES_SINCE
from trellis_nats.provision.plan import BATCHES_SINCE

from trellis_admin.doctor.facts import Facts
from trellis_admin.doctor.findings import Finding, Severity

__all__ = [
    "check_clock",
    "check_jetstream",
    "check_last_msg_id",
    "check_max_payload",
    "check_readable",
    "check_storage",
    "check_sync_interval",
    "check_version",
    "check_wide_permissions",
]

_FENCES_SINCE: Final = (2, 11, 0)
_LAST_MSG_ID: Final = ((2, 14, 0), (2, 16, 0))
"""The versions on which one publish with a wrong Nats-Expected-Last-Msg-Id ends a replicated stream (nats-facts.md, 0 A)."""
_PAYLOAD_MIN: Final = 64 * 1024
"""Below it, ordinary payloads with a history of errors do not fit."""
_SKEW_MAX: Final = timedelta(seconds=1)
_FULL: Final = 0.8


def check_jetstream(facts: Facts) -> Iterator[Finding]:
    """JetStream is off for this account."""
    if not facts.server.has_jetstream:
        yield Finding(
            check="jetstream-off",
            severity=Severity.FAULT,
            subject="server",
            text="JetStream is not enabled on this server, or not for this account: no job can be stored",
            remedy="add `jetstream { store_dir: … }` to the configuration of the server, and `jetstream: enabled` to the "
            "account; or pass --domain where JetStream is in another domain",
        )


def check_version(facts: Facts) -> Iterator[Finding]:
    """The server is too old for fences, batches or schedules."""
    version = facts.server.version
    if version < _FENCES_SINCE:
        severity = Severity.WARNING
        lacks = "does not fence events: two writers at the same instant are both stored, and readers use the first"
    elif version < BATCHES_SINCE:
        severity, lacks = Severity.HINT, "has neither atomic batches nor schedules"
    elif version < SCHEDULES_SINCE:
        severity, lacks = (
            Severity.HINT,
            "has no reliable schedules: jobs that wait for long hold deliveries",
        )
    else:
        return
    yield Finding(
        check="server-old",
        severity=severity,
        subject="server",
        text=f"nats-server {'.'.join(map(str, version))} {lacks}",
        remedy="upgrade to nats-server 2.12.8 or newer",
    )


def check_max_payload(facts: Facts) -> Iterator[Finding]:
    """Messages may only be small."""
    if facts.server.max_payload < _PAYLOAD_MIN:
        yield Finding(
            check="max-payload-small",
            severity=Severity.WARNING,
            subject="server",
            text=f"the server accepts messages of {facts.server.max_payload:,} bytes at most: larger payloads, errors and "
            "results are refused",
            remedy="raise max_payload in the configuration of the server (the default is 1 MB)",
        )


def check_clock(facts: Facts) -> Iterator[Finding]:
    """The clocks of the server and of this machine differ."""
    offset = facts.server.clock_offset
    if offset is not None and abs(offset) - facts.server.clock_error > _SKEW_MAX:
        side = "ahead of" if offset > timedelta(0) else "behind"
        yield Finding(
            check="clock-skew",
            severity=Severity.WARNING,
            subject="server",
            text=f"the clock of the server is {abs(offset).total_seconds():.1f} s {side} the clock of this machine: delays, "
            "deadlines and leases are judged by both",
            remedy="run an NTP client on both machines",
        )


def check_storage(facts: Facts) -> Iterator[Finding]:
    """The account has nearly used up what it may store."""
    limit = facts.server.storage_limit
    if limit > 0 and facts.server.storage_used >= _FULL * limit:
        yield Finding(
            check="storage-nearly-full",
            severity=Severity.FAULT if facts.server.storage_used >= limit else Severity.WARNING,
            subject="account",
            text=f"{facts.server.storage_used / limit:.0%} of the {limit:,} bytes that the account may store are used: when they "
            "are full, no job can be created and no attempt can end",
            remedy="raise max_file of JetStream or the limit of the account, or keep ended jobs for less time (Options.retention)",
        )


def check_sync_interval(facts: Facts) -> Iterator[Finding]:
    """A single server acknowledges before it syncs. Clients cannot see the setting."""
    if facts.server.servers == 1 and facts.jobs is not None and facts.jobs.config.get("storage") == "file":
        yield Finding(
            check="sync-interval",
            severity=Severity.HINT,
            subject="server",
            text="one server keeps the jobs: unless it runs with sync_interval: always, a power cut loses what it acknowledged "
            "in the last two minutes",
            remedy="set `jetstream { sync_interval: always }`, or run three servers",
        )


def check_last_msg_id(facts: Facts) -> Iterator[Finding]:
    """A replicated stream can be ended by one publish of another program."""
    first, end = _LAST_MSG_ID
    if not first <= facts.server.version < end:
        return
    replicated = sorted(name for name, stream in facts.streams.items() if stream.number("num_replicas") > 1)
    if replicated:
        yield Finding(
            check="expected-last-msg-id",
            severity=Severity.HINT,
            subject=", ".join(replicated),
            text="on this version, one publish with a wrong Nats-Expected-Last-Msg-Id ends a replicated stream. Trellis never "
            "sends that header; another program with the permission to publish there can",
            remedy="let only Trellis' accounts publish to trellis.> and $KV.JOBS_KEYS_*.>",
        )


def check_readable(facts: Facts) -> Iterator[Finding]:
    """The account may not look something up, so that other checks had nothing to look at."""
    if facts.unreadable and _has_its_role(facts):
        yield Finding(
            check="permissions-narrow",
            severity=Severity.HINT,
            subject="account",
            text=f"{plural(len(facts.unreadable), 'question')} of doctor need more than the role of the account, and were not answered",
            remedy="nothing: the role does not need them",
        )
    elif facts.unreadable:
        yield Finding(
            check="permissions-narrow",
            severity=Severity.WARNING,
            subject="account",
            text=f"the account may not look everything up, so not everything was checked: {_shorten(facts.unreadable)}",
            remedy='use an account with permissions(…, "operator") of each service',
        )
    for contract in facts.contracts:
        if contract.missing:
            yield Finding(
                check="permissions-missing",
                severity=Severity.FAULT,
                subject=contract.contract.id,
                text=f"the account lacks permissions of the role {contract.role}: "
                f"{'; '.join(dict.fromkeys(map(str, contract.missing)))}",
                remedy=f'give its user what permissions(…, "{contract.role}") lists',
            )


def _has_its_role(facts: Facts) -> bool:
    """Return whether the account was compared with roles that look less up than an operator, and has all of them."""
    return bool(facts.contracts) and all(
        contract.role not in {None, "operator"} and not contract.missing for contract in facts.contracts
    )


def check_wide_permissions(facts: Facts) -> Iterator[Finding]:
    """The account may do more than its role needs."""
    if facts.excess:
        yield Finding(
            check="permissions-wide",
            severity=Severity.WARNING,
            subject="account",
            text=f"the account may do more than its role needs: {_shorten(facts.excess)}",
            remedy="give its user what permissions(…) lists for its role, and nothing else",
        )


def _shorten(texts: Sequence[str]) -> str:
    listed = texts[:5]
    more = f", and {len(texts) - 5} more" if len(texts) > len(listed) else ""
    return "; ".join(listed) + more
