"""Which rules a rolling deploy on a real server shows, and which it cannot show."""

from __future__ import annotations

from typing import Final

from tests.support.rolling.contract_calls import CALL_CASES
from tests.support.rolling.contract_events import EVENT_CASES
from tests.support.rolling.contract_identity import IDENTITY_CASES, NOT_DRIVEN
from tests.support.rolling.contract_jobs import JOB_CASES
from tests.support.rolling.contract_kept import KEPT_CASES
from tests.support.rolling.contract_operations import OPERATION_CASES

__all__ = ["CASES", "NOT_DRIVEN"]

CASES: Final = (
    *IDENTITY_CASES,
    *JOB_CASES,
    *CALL_CASES,
    *OPERATION_CASES,
    *EVENT_CASES,
    *KEPT_CASES,
)
"""Every change outside of schemas that is driven."""
