"""The processes: heartbeat, load and contract of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from trellis_nats.clock import timestamp

from trellis_admin.queries import WorkerRow, list_workers
from trellis_admin.web.console import Console
from trellis_admin.web.exports import save_rows
from trellis_admin.web.frame import show
from trellis_admin.web.links import jobs_link

__all__ = ["show_workers"]

_COLUMNS: Final = (
    "id", "service", "queues", "heartbeat", "silent", "stopping", "running", "slots", "contract", "version", "host", "pid",
    "loop_lag_ms", "memory_bytes", "started",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Service:
    """The workers of one service."""

    name: str
    workers: tuple[WorkerRow, ...]
    digests: tuple[tuple[str, int], ...]
    """The contracts, and how many workers have each, that of the newest worker first."""


async def show_workers(request: Request) -> Response:
    """Show the processes that work queues, those in trouble first."""
    console: Console = request.state.console
    workers = await console.query(list_workers, datetime.now(UTC))
    older = _find_older(workers)
    chosen = request.query_params.get("w", "all")
    silent = [worker for worker in workers if worker.is_silent]
    blocked = [worker for worker in workers if worker.is_blocked and not worker.is_stopping]
    stopping = [worker for worker in workers if worker.is_stopping and not worker.has_stopped]
    shown = {
        "trouble": silent + blocked + stopping,
        "old": [worker for worker in workers if worker.instance_id in older],
    }.get(chosen, workers)
    if kind := request.query_params.get("format"):
        return save_rows("workers", kind, _COLUMNS, _once(shown), _cells)
    address = request.url
    values: dict[str, object] = {
        "total": len(workers),
        "shown": len(shown),
        "services": _group(shown),
        "silent": silent[:5],
        "stopping": len(stopping),
        "older": older,
        "links": [
            (
                word,
                f"{address.path}?w={name}",
                chosen == name or (name == "all" and chosen not in {"trouble", "old"}),
            )
            for word, name in (
                (f"All {len(workers)}", "all"),
                (f"In trouble {len(silent) + len(blocked) + len(stopping)}", "trouble"),
                (f"Older contract {len(older)}", "old"),
            )
        ],
        "save_address": address,
        "jobs_of": partial(_link_jobs, request),
    }
    return await show(request, "workers.html", "workers", values)


def _link_jobs(request: Request, worker: WorkerRow) -> str:
    return jobs_link(request, f"worker:{worker.instance_id} state:active")


def _group(workers: Sequence[WorkerRow]) -> list[Service]:
    names = dict.fromkeys(worker.service for worker in workers)
    services: list[Service] = []
    for name in names:
        own = tuple(worker for worker in workers if worker.service == name)
        newest_first = sorted(own, key=_began, reverse=True)
        counts = Counter(worker.digest for worker in newest_first if worker.digest is not None)
        services.append(Service(name, own, tuple(counts.items())))
    return services


def _find_older(workers: Sequence[WorkerRow]) -> frozenset[str]:
    """Return the workers whose contract is not that of the newest worker of their service, except those that have stopped."""
    newest: dict[str, WorkerRow] = {}
    for worker in workers:
        if worker.digest is not None and (
            worker.service not in newest or _began(worker) > _began(newest[worker.service])
        ):
            newest[worker.service] = worker
    return frozenset(
        worker.instance_id
        for worker in workers
        if worker.digest is not None
        and worker.digest != newest[worker.service].digest
        and not worker.has_stopped
    )


def _began(worker: WorkerRow) -> datetime:
    return worker.started_at or worker.first_at


async def _once(workers: Sequence[WorkerRow]) -> AsyncIterator[Sequence[WorkerRow]]:
    yield workers


def _cells(worker: WorkerRow) -> Sequence[object]:
    lag = None if worker.loop_lag is None else round(worker.loop_lag.total_seconds() * 1000)
    queues = " ".join(queue.queue for queue in worker.queues)
    return (
        worker.instance_id, worker.service, queues, timestamp(worker.heartbeat_at), worker.is_silent, worker.is_stopping,
        worker.running, worker.slots, worker.digest, worker.version, worker.host, worker.pid, lag, worker.memory_bytes,
        timestamp(_began(worker)),
    )  # fmt: skip
