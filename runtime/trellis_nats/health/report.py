"""The results of the checks, and the status that follows from them: plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import JsonValue

from trellis_nats.clock import timestamp

__all__ = ["CheckResult", "HealthReport", "HealthStatus", "conclude"]

_MILLISECOND: Final = timedelta(milliseconds=1)


class HealthStatus(StrEnum):
    """The status of a service, as on the wire."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """Something is wrong that this process cannot fix, or that it can do without."""
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """What one check reports."""

    name: str
    ok: bool
    latency: timedelta
    """How long the check took."""
    error: str | None = None
    """Why the check failed."""
    summary: str | None = None
    """What else the check reports."""
    critical: bool = True
    """Whether the service is unhealthy when this check fails; otherwise it is degraded."""
    needed: bool = True
    """Whether the service is not ready when this check fails."""

    def to_wire(self) -> dict[str, JsonValue]:
        """Return it as in the heartbeat of a service: camelCase, without null members."""
        wire: dict[str, JsonValue] = {
            "name": self.name,
            "status": "ok" if self.ok else "failed",
            "latencyMs": round(self.latency / _MILLISECOND, 3),
        }
        if self.error is not None:
            wire["error"] = self.error
        if self.summary is not None:
            wire["summary"] = self.summary
        return wire


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthReport:
    """What all checks report."""

    status: HealthStatus
    ready: bool
    """Whether work would be done if there were any: started, connected, and every queue consuming."""
    checks: tuple[CheckResult, ...]
    at: datetime

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, as `name: error`."""
        return tuple(f"{check.name}: {check.error or 'failed'}" for check in self.checks if not check.ok)

    def to_wire(self) -> dict[str, JsonValue]:
        """Return it as JSON; `status` and `checks` are as in the heartbeat of a service."""
        return {
            "status": self.status.value,
            "ready": self.ready,
            "timestamp": timestamp(self.at),
            "checks": [check.to_wire() for check in self.checks],
        }


def conclude(checks: Iterable[CheckResult], at: datetime) -> HealthReport:
    """Return the report that follows from the results of the checks."""
    found = tuple(checks)
    failed = [check for check in found if not check.ok]
    if any(check.critical for check in failed):
        status = HealthStatus.UNHEALTHY
    elif failed:
        status = HealthStatus.DEGRADED
    else:
        status = HealthStatus.HEALTHY
    return HealthReport(status=status, ready=not any(check.needed for check in failed), checks=found, at=at)
