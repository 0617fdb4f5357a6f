"""Files of lists: CSV, JSON and ids, written while they are read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, TypeVar

from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from trellis_nats.clock import timestamp

from trellis_admin.queries import JobPage, JobRow, Selection, list_jobs
from trellis_admin.web.console import Console

__all__ = ["save_jobs", "save_rows"]

Row = TypeVar("Row")

_PAGE: Final = 1000
_TYPES: Final = {"csv": "text/csv", "json": "application/json", "ids": "text/plain"}
_JOB_COLUMNS: Final = (
    "id", "service", "queue", "state", "created", "started", "ended", "next", "attempts", "max_attempts", "error_type",
    "error", "fingerprint", "key", "worker", "contract", "trace", "sequence",
)  # fmt: skip


def save_jobs(console: Console, selection: Selection, kind: str) -> Response:
    """Return all jobs of a selection as a file.

    Raises:
        HTTPException: there is no such kind of file.
    """

    async def read() -> AsyncIterator[Sequence[JobRow]]:
        before: int | None = None
        while True:
            page: JobPage = await console.query(list_jobs, selection, before=before, limit=_PAGE)
            yield page.rows
            before = page.next
            if before is None:
                return

    return save_rows(f"jobs-{selection.at}", kind, _JOB_COLUMNS, read(), _job_cells)


def save_rows(
    name: str,
    kind: str,
    columns: Sequence[str],
    pages: AsyncIterator[Sequence[Row]],
    cells: Callable[[Row], Sequence[object]],
) -> Response:
    """Return rows as a file. The first column is what `ids` has.

    Raises:
        HTTPException: there is no such kind of file.
    """
    if kind not in _TYPES:
        raise HTTPException(400, f"format={kind} is not known; it is csv, json or ids")
    write = {"csv": _write_csv, "json": _write_json, "ids": _write_ids}[kind]
    rows = ([*map(cells, page)] async for page in pages)
    suffix = "txt" if kind == "ids" else kind
    return StreamingResponse(
        write(columns, rows),
        media_type=f"{_TYPES[kind]}; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}.{suffix}"',
            "Cache-Control": "no-store",
        },
    )


async def _write_csv(
    columns: Sequence[str], pages: AsyncIterator[list[Sequence[object]]]
) -> AsyncIterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    async for rows in pages:
        writer.writerows([[_as_cell(cell) for cell in row] for row in rows])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


async def _write_json(
    columns: Sequence[str], pages: AsyncIterator[list[Sequence[object]]]
) -> AsyncIterator[str]:
    separator = "[\n"
    async for rows in pages:
        for row in rows:
            yield separator + json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False)
            separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


async def _write_ids(
    _columns: Sequence[str], pages: AsyncIterator[list[Sequence[object]]]
) -> AsyncIterator[str]:
    async for rows in pages:
        yield "".join(f"{row[0]}\n" for row in rows)


def _as_cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def _job_cells(job: JobRow) -> Sequence[object]:
    times = (job.created_at, job.started_at, job.ended_at, job.next_at)
    created, started, ended, next_at = (None if at is None else timestamp(at) for at in times)
    return (
        job.id, job.service, job.queue, str(job.state), created, started, ended, next_at, job.tries, job.max_tries,
        job.error_type, job.error, job.fingerprint, job.key, job.worker, job.digest, job.trace_id, job.state_sequence,
    )  # fmt: skip
