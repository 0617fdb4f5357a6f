"""The states of an operation, and the types of what happens to it. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypeAlias

__all__ = ["OperationState", "ResumePolicy", "UpdateType"]


class OperationState(StrEnum):
    """Where an operation stands."""

    PENDING = "pending"
    """Accepted; its handler has not begun."""
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the operation has ended."""
        return self not in {OperationState.PENDING, OperationState.RUNNING}


UpdateType: TypeAlias = Literal[
    "snapshot", "accepted", "started", "progress", "transfer", "completed", "failed", "cancelled"
]
"""What an update reports. `snapshot` is how the operation stands when watching begins."""

ResumePolicy: TypeAlias = Literal["fail", "run-again"]
"""What happens to an operation whose process ended while its handler ran."""
