"""What a fleet's queues, workers and streams look like from outside, as Prometheus reads it.

`projected` measures the projection, `server` the streams and consumers, `unsourced` looks for jobs without work messages, `fleet`
puts them together, `exposition` writes them, `endpoint` serves them.
"""

from trellis_admin.metrics.endpoint import MetricsEndpoint
from trellis_admin.metrics.exposition import CONTENT_TYPE, Measurement, to_text
from trellis_admin.metrics.families import FLEET_FAMILIES
from trellis_admin.metrics.fleet import FleetMetrics

__all__ = [
    "CONTENT_TYPE",
    "FLEET_FAMILIES",
    "FleetMetrics",
    "Measurement",
    "MetricsEndpoint",
    "to_text",
]
