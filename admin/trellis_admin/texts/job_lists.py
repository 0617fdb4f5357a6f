"""Lists of jobs and of errors. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from trellis_nats.jobs.model.states import JobState

from trellis_admin.projection.fingerprint import title_error
from trellis_admin.queries import Count, ErrorGroup, JobPage, JobRow
from trellis_admin.terminal import Column, Table, show_age, to_wire

__all__ = ["describe_page", "job_csv", "show_count", "tabulate_groups", "tabulate_jobs"]


def tabulate_jobs(rows: Sequence[JobRow], now: datetime) -> Table:
    """Return jobs as a table."""
    table = Table(
        (
            Column("id"),
            Column("queue", is_place=True),
            Column("state"),
            Column("attempts", "right", is_minor=True),
            Column("created", is_minor=True),
            Column("changed"),
            Column("next", is_minor=True),
            Column("key", is_minor=True),
            Column("error", is_wide=True),
        )
    )
    for row in rows:
        is_waiting = row.state in {JobState.PENDING, JobState.RETRY} and row.next_at is not None
        table.add(
            row.id,
            f"{row.service}/{row.queue}",
            row.state,
            f"{row.tries} of {row.max_tries}",
            show_age(row.created_at, now),
            show_age(row.state_at, now),
            show_age(row.next_at, now) if is_waiting else "-",
            row.key or "-",
            _error(row.error_type, row.error),
        )
    return table


def _error(kind: str | None, text: str | None) -> str:
    return "-" if text is None else title_error(kind, text)


_CSV: Final = (
    "id",
    "service",
    "queue",
    "state",
    "tries",
    "max_tries",
    "created_at",
    "state_at",
    "next_at",
    "deadline",
    "key",
    "error_type",
    "error",
    "fingerprint",
    "worker",
    "trace_id",
    "state_sequence",
)


_HEADER: Final = tuple({"tries": "attempts", "max_tries": "max_attempts"}.get(name, name) for name in _CSV)
"""As the files of the console have them."""


def job_csv(rows: Sequence[JobRow]) -> str:
    """Return jobs as CSV with a header; times are absolute."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(_HEADER)
    for row in rows:
        values = (to_wire(getattr(row, name)) for name in _CSV)
        writer.writerow(["" if value is None else _no_formula(str(value)) for value in values])
    return written.getvalue().rstrip("\n")


def _no_formula(text: str) -> str:
    """Return a text that a spreadsheet does not take for a formula: errors and keys may hold anything."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def show_count(count: Count) -> str:
    """Return a count; what was not counted to the end is said."""
    return f"{count.number:,}" if count.is_exact else f"more than {count.number:,}"


def describe_page(page: JobPage, again: str) -> str:
    """Return how much of a selection a page shows, and how to get more.

    Args:
        page: the page.
        again: the command that printed it.
    """
    total = show_count(page.total)
    if page.total.number == 0:
        text = f"no job matches, as of sequence {page.at:,}"
    else:
        jobs = "job" if page.total.number == 1 else "jobs"
        text = f"{len(page.rows):,} of {total} {jobs}, as of sequence {page.at:,}"
    if page.newer.number:
        text += f"; {show_count(page.newer)} changed since"
    if page.next is not None:
        text += f"\nmore: {again} --at {page.at} --before {page.next}"
    return text


def tabulate_groups(groups: Sequence[ErrorGroup], now: datetime) -> Table:
    """Return groups of errors as a table."""
    table = Table(
        (
            Column("group"),
            Column("jobs", "right"),
            Column("queue", is_place=True),
            Column("first", is_minor=True),
            Column("last"),
            Column("last 24 h", is_minor=True),
            Column("error", is_wide=True),
        )
    )
    for group in groups:
        table.add(
            group.fingerprint,
            f"{group.jobs:,}",
            f"{group.service}/{group.queue}",
            show_age(group.first_seen, now),
            show_age(group.last_seen, now),
            _spark(group.per_hour),
            _error(group.error_type, group.pattern),
        )
    return table


_BARS = " ▁▂▃▄▅▆▇█"


def _spark(values: Sequence[int]) -> str:
    """Return a line of bars, as high as the largest value is."""
    top = max(values, default=0)
    if not top:
        return "·" * len(values)
    bars = (_BARS[-(-value * (len(_BARS) - 1) // top)] for value in values)
    return "".join(bar if bar != " " else "·" for bar in bars)
