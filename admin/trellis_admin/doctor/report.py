"""Findings for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from trellis_nats._support.plural import plural

from trellis_admin.doctor.checks import CHECKS
from trellis_admin.doctor.facts import Facts
from trellis_admin.doctor.findings import Finding, Severity
from trellis_admin.queries import LATE_AFTER, SILENT_AFTER

__all__ = ["to_json", "to_text"]


def to_text(facts: Facts, findings: Sequence[Finding]) -> str:
    """Return findings for people: a line for what is wrong, and one for what to do."""
    server = facts.server
    lines = [
        f"nats-server {'.'.join(map(str, server.version))}"
        + (f", a cluster of {server.servers}" if server.servers > 1 else "")
        + f"; {plural(len(facts.queues), 'queue')}, {_count_workers(facts)}",
    ]
    for finding in findings:
        lines += [
            "",
            f"{finding.severity}: {finding.subject}: {finding.text}  [{finding.check}]",
            f"    {finding.remedy}",
        ]
    return "\n".join([*lines, "", _summary(findings)])


def _count_workers(facts: Facts) -> str:
    """Count the processes that are not silent, with those of them whose heartbeat is late."""
    ages: dict[str, timedelta] = {}
    for beat in facts.heartbeats:
        age = facts.at - beat.at
        if not beat.is_stopping and age <= SILENT_AFTER:
            ages[beat.instance] = min(age, ages.get(beat.instance, age))
    late = sum(age > LATE_AFTER for age in ages.values())
    return plural(len(ages), "worker") + (f", {late} of them late" if late else "")


def _summary(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.severity for finding in findings)
    if not counts:
        return f"{len(CHECKS)} checks, nothing found"
    listed = [plural(counts[severity], severity) for severity in Severity if counts[severity]]
    return f"{len(CHECKS)} checks: {', '.join(listed)}"


def to_json(facts: Facts, findings: Sequence[Finding]) -> str:
    """Return findings as one JSON object."""
    return json.dumps(
        {
            "v": 1,
            "server": {
                "version": ".".join(map(str, facts.server.version)),
                "servers": facts.server.servers,
            },
            "checks": len(CHECKS),
            "findings": [
                {
                    "check": finding.check,
                    "severity": finding.severity,
                    "subject": finding.subject,
                    "text": finding.text,
                    "remedy": finding.remedy,
                }
                for finding in findings
            ],
        },
        indent=2,
    )
