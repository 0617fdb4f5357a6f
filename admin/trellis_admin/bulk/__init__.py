"""Acts on many jobs at once: a record that survives the process which runs it, and never acts on a job twice.

`planning` counts what would happen, `bulk_actions` begins and steers, `runner` runs: what is left is what the selection still
returns. `record` and `changes` are the pure state machine, `store` keeps records in a bucket, `world` acts on jobs.
"""

from trellis_admin.bulk.bulk_actions import BulkActions, CountDiffers
from trellis_admin.bulk.changes import BulkProblem
from trellis_admin.bulk.planning import BulkPlan, DryRun, IdleQueue, Refusal, plan_bulk
from trellis_admin.bulk.record import (
    BEGIN_WITH,
    RATE,
    RATE_MAX,
    STOP_ABOVE,
    STOP_ENDED_MIN,
    BulkAction,
    BulkRecord,
    BulkState,
    DryCounts,
)
from trellis_admin.bulk.store import BulkNotFound, BulkPage, BulkStore

__all__ = [
    "BEGIN_WITH",
    "RATE",
    "RATE_MAX",
    "STOP_ABOVE",
    "STOP_ENDED_MIN",
    "BulkAction",
    "BulkActions",
    "BulkNotFound",
    "BulkPage",
    "BulkPlan",
    "BulkProblem",
    "BulkRecord",
    "BulkState",
    "BulkStore",
    "CountDiffers",
    "DryCounts",
    "DryRun",
    "IdleQueue",
    "Refusal",
    "plan_bulk",
]
