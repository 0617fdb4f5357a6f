"""The type variables that the classes of one queue share."""

from __future__ import annotations

from typing import Never

from typing_extensions import TypeVar

__all__ = ["PayloadT", "ResultT", "UpdateT"]

PayloadT = TypeVar("PayloadT")
"""What a job is created with."""
ResultT = TypeVar("ResultT")
"""What its handler returns."""
UpdateT = TypeVar("UpdateT", default=Never)
"""What its handler may send while it runs. Never, where the queue declares no `update`: then nothing can be sent."""
