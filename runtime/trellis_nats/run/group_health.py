"""The health of a group: what all of its processes answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue
from pydantic_core import from_json

from trellis_nats.clock import now, timestamp
from trellis_nats.health.http import HEAD_END
from trellis_nats.health.listener import parse_address
from trellis_nats.health.report import HealthStatus
from trellis_nats.run.process_slot import ProcessSlot

__all__ = ["ProbedGroup"]

_LIMIT: Final = 10.0
"""Seconds for a process to answer."""
_BY_SEVERITY: Final = (HealthStatus.UNHEALTHY, HealthStatus.DEGRADED, HealthStatus.HEALTHY)


class ProbedGroup:
    """Asks every process: the group is alive, and ready, if all of them are.

    A process that is being started is not ready, but the group is alive meanwhile: a restart would not help.
    """

    def __init__(self, slots: Sequence[ProcessSlot], address: str) -> None:
        """Prepare; `address` is the one that the program has in `Options.health_listen`."""
        self._slots = slots
        self._address = address

    async def is_alive(self) -> bool:
        """Return whether the event loop of every process that listens for probes answers."""
        listening = [slot.health[self._address] for slot in self._slots if self._address in slot.health]
        answers = await asyncio.gather(*(_ask(address, "/livez") for address in listening))
        # One that has ended since it was asked does not count.
        still = {address for slot in self._slots for address in slot.health.values()}
        return all(
            answer is not None or address not in still
            for answer, address in zip(answers, listening, strict=True)
        )

    async def readiness(self) -> tuple[bool, dict[str, JsonValue]]:
        """Return whether every process is ready, and the reports of all."""
        reports = await asyncio.gather(*(self._report(slot) for slot in self._slots))
        statuses = [report["status"] for report in reports]
        is_ready = all(report["ready"] is True for report in reports)
        return is_ready, {
            "status": next(status.value for status in _BY_SEVERITY if status.value in statuses),
            "ready": is_ready,
            "timestamp": timestamp(now()),
            "processes": [*reports],
        }

    async def _report(self, slot: ProcessSlot) -> dict[str, JsonValue]:
        head: dict[str, JsonValue] = {"process": slot.number, "pid": slot.pid}
        if slot.pid is None:
            problem = slot.problem
        elif (own := slot.health.get(self._address)) is None:
            problem = "it starts, or stops: it does not listen for probes"
        elif (report := _read(await _ask(own, "/readyz") or b"")) is None:
            problem = "it does not answer: its event loop is blocked"
        else:
            return head | report
        return {**head, "status": HealthStatus.UNHEALTHY.value, "ready": False, "error": problem}


async def _ask(address: str, path: str) -> bytes | None:
    """Return the body of what a process answers to a probe; None if it does not."""
    host, port = parse_address(address)
    try:
        async with asyncio.timeout(_LIMIT):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                head, _, body = (await reader.read()).partition(HEAD_END)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    return body if head else None


def _read(body: bytes) -> dict[str, JsonValue] | None:
    try:
        report: JsonValue = from_json(body)
    except (
        ValueError
    ):  # it refused the request: its event loop was blocked for so long that the request was late
        return None
    return report if isinstance(report, dict) else None
