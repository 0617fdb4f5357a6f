"""A selection: a filter, and the sequence at which its jobs were looked at."""

from __future__ import annotations

from typing import NamedTuple

from trellis_admin.queries.filters import JobFilter

__all__ = ["Selection"]


class Selection(NamedTuple):
    """The jobs that match a filter and whose state has not changed after a sequence.

    It never gains jobs. It loses those whose state changes, so what an action has still to do is what its selection still has.
    """

    filter: JobFilter
    at: int
    """A sequence of stream JOBS, as in `ProjectionStatus.at`."""
