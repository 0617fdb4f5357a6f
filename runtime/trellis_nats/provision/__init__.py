"""Creates and verifies the streams, consumers and buckets that surfaces require.

`requirements` is the data that surfaces declare, `plan` orders it, `compare` finds what differs, `apply` and `consumers` ask
the server and create what is missing. Nothing that exists is altered, except that atomic batches are switched on.
"""

from trellis_nats.provision.apply import provision
from trellis_nats.provision.compare import compare_consumer
from trellis_nats.provision.consumers import log_oddities, require_consumer
from trellis_nats.provision.requirements import (
    BucketRequirement,
    ConsumerRequirement,
    Requirement,
    ServerFeature,
    StreamRequirement,
)

__all__ = [
    "BucketRequirement",
    "ConsumerRequirement",
    "Requirement",
    "ServerFeature",
    "StreamRequirement",
    "compare_consumer",
    "log_oddities",
    "provision",
    "require_consumer",
]
