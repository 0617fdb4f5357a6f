"""Findings for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from trellis_nats._support.plural import plural

from trellis_admin.doctor.checks import CHECKS
from trellis_admin.doctor.facts import Facts
from trellis_admin.doctor.findings import Finding, Severity

__all__ = ["to_json", "to_text"]


def to_text(facts: Facts, findings: Sequence[Finding]) -> str:
    """Return findings for people: a line for what is wrong, and one for what to do."""
    server = facts.server
    lines = [
        f"nats-server {'.'.join(map(str, server.version))}"
        + (f", a cluster of {server.servers}" if server.servers > 1 else "")
        + f"; {plural(len(facts.queues), 'queue')}, {plural(len({beat.instance for beat in facts.heartbeats if not beat.is_stopping}), 'worker')}",
    ]
    for finding in findings:
        lines += [
            "",
            f"{finding.severity}: {finding.subject}: {finding.text}  [{finding.check}]",
            f"    {finding.remedy}",
        ]
    return "\n".join([*lines, "", _summary(findings)])


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
