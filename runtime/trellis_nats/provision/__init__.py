"""Creates, verifies and updates the streams, consumers and buckets that surfaces require.

`requirements` is the data that surfaces declare, `plan` orders it, `compare` finds what differs, `apply` and `consumers` ask
the server and create what is missing. `changes` plans what a contract changes on a server, `updates` applies it.
"""

from trellis_nats.provision.apply import provision
from trellis_nats.provision.changes import (
    Change,
    Creation,
    Refusal,
    ServerState,
    Setting,
    Update,
    plan_changes,
)
from trellis_nats.provision.compare import compare_consumer
from trellis_nats.provision.consumers import log_oddities, require_consumer
from trellis_nats.provision.plan import Plan, plan
from trellis_nats.provision.requirements import (
    BucketRequirement,
    ConsumerRequirement,
    Requirement,
    ServerFeature,
    StoreRequirement,
    StreamRequirement,
)
from trellis_nats.provision.updates import Applied, apply_changes, read_state, update_existing

__all__ = [
    "Applied",
    "BucketRequirement",
    "Change",
    "ConsumerRequirement",
    "Creation",
    "Plan",
    "Refusal",
    "Requirement",
    "ServerFeature",
    "ServerState",
    "Setting",
    "StoreRequirement",
    "StreamRequirement",
    "Update",
    "apply_changes",
    "compare_consumer",
    "log_oddities",
    "plan",
    "plan_changes",
    "provision",
    "read_state",
    "require_consumer",
    "update_existing",
]
