"""Is the service well, and would it do work if there were any? Checks, their report, and an HTTP listener for probes."""

from trellis_nats.health.report import CheckResult, HealthReport, HealthStatus
from trellis_nats.health.service_health import Health

__all__ = ["CheckResult", "Health", "HealthReport", "HealthStatus"]
