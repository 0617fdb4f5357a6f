"""What someone must do for a queue that has no worker at the moment: end the jobs that can no longer run.

`expire_overdue` and `bury_undelivered` do it, `fleet` repeats both in one of several replicas. `overdue` and `advisory` decide,
without effects.
"""

from trellis_admin.duties.bury_undelivered import AdvisoryResult, BurialReport, UndeliveredBurier
from trellis_admin.duties.expire_overdue import (
    EXPIRE_GRACE,
    ExpiryReport,
    FindOverdue,
    JobPlace,
    OverdueExpirer,
    OverdueResult,
)
from trellis_admin.duties.fleet import DutyOptions, FleetDuties

__all__ = [
    "EXPIRE_GRACE",
    "AdvisoryResult",
    "BurialReport",
    "DutyOptions",
    "ExpiryReport",
    "FindOverdue",
    "FleetDuties",
    "JobPlace",
    "OverdueExpirer",
    "OverdueResult",
    "UndeliveredBurier",
]
