"""The health of a service: checks, their report, and an HTTP listener for probes."""

from trellis_nats.health.report import CheckResult, HealthReport, HealthStatus
from trellis_nats.health.service_health import Health

__all__ = ["CheckResult", "Health", "HealthReport", "HealthStatus"]
