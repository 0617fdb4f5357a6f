"""Publishes `Health.Heartbeat` of `trellis.health@v1` for a contract that uses it (reference, 12.4)."""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue
from typing_extensions import override

from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.binding import Binding
from trellis_nats.clock import now, parse_timestamp, timestamp, to_milliseconds
from trellis_nats.codec import encode_json
from trellis_nats.errors import NotConnected, TransportError
from trellis_nats.events.envelope import with_header
from trellis_nats.events.subjects import EVENT_STREAM
from trellis_nats.grants import Grant, Probe, Role, StartCheck, publish
from trellis_nats.health import HealthReport
from trellis_nats.ids import new_id
from trellis_nats.provision.requirements import StreamRequirement
from trellis_nats.runtime import Runtime
from trellis_nats.surface import Surface

__all__ = ["HealthHeartbeat"]

_log = logging.getLogger(__name__)

_SUBJECT: Final = "events.v1.Health.Heartbeat"
_STREAM: Final[StreamRequirement] = replace(EVENT_STREAM, is_optional=True)


class HealthHeartbeat(Surface):
    """The heartbeats of one process, from its connection until it stops or disconnects.

    A heartbeat that fails is logged and skipped: the service works without.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._opened: datetime | None = None
        self._task: asyncio.Task[None] | None = None
        self._fails = False
        runtime.register(self)

    @override
    def requirements(self, binding: Binding) -> Iterable[StreamRequirement]:
        """Return the stream of events, which the service can do without."""
        return (_STREAM,)

    @override
    def grants(self, binding: Binding, role: Role) -> Iterable[Grant]:
        """Return the same for every role of a process that connects as the service: a viewer does not."""
        if role == "viewer":
            return
        yield publish(
            _SUBJECT,
            "publish heartbeats of the service",
            probe=Probe.TRACE_ONLY,
            at_start=StartCheck.OPTIONAL,
        )

    @override
    async def open(self) -> None:
        """Publish heartbeats from now on."""
        self._opened = now()
        await self.start()

    @override
    async def start(self) -> None:
        """Publish heartbeats again, after a stop."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="health heartbeats")

    @override
    async def stop(self, grace: GracePeriod) -> None:
        """Publish no more heartbeats."""
        await self.close()

    @override
    async def close(self) -> None:
        """Publish no more heartbeats."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _run(self) -> None:
        interval = self._runtime.options.maintenance.heartbeat_every
        while True:
            try:
                await self._publish(interval)
            except TransportError as error:
                self._log_failure(error)
            except Exception:  # noqa: BLE001 - without its heartbeats, a live service counts as gone
                fields = log_fields(LogEvent.INTERNAL_ERROR, subject=_SUBJECT)
                _log.error("a heartbeat failed in an internal error", exc_info=True, extra=fields)
            else:
                self._fails = False
            await asyncio.sleep(interval.total_seconds())

    async def _publish(self, interval: timedelta) -> None:
        report = await self._runtime.health.report_connected()
        event_id, time = new_id(), parse_timestamp(timestamp(now()))
        body = self._describe(report, interval)
        await publish_acked(
            self._runtime.connection,
            _SUBJECT,
            encode_json(with_header(body, event_id=event_id, time=time)),
            message_id=event_id,
            timeout=self._runtime.options.request_timeout,
        )

    def _describe(self, report: HealthReport, interval: timedelta) -> dict[str, JsonValue]:
        contract = self._runtime.contract
        failing = len(report.problems)
        summary = f"{failing} check{'s' if failing > 1 else ''} failing"
        return {
            "service": {
                "name": contract.id.partition("@")[0],
                "kind": contract.kind,
                "instanceId": self._runtime.instance_id,
                "contractId": contract.id,
                "contractDigest": contract.digest,
                "startedAt": timestamp(self._opened or report.at),
                "publishIntervalMs": to_milliseconds(interval),
                "runtime": "unknown",  # the schema lists the runtimes that it knows, and Python is not one of them
                "runtimeVersion": f"Python {platform.python_version()}",
            },
            "status": report.status.value,
            **({"summary": summary} if failing else {}),
            "checks": [check.to_wire() for check in report.checks],
        }

    def _log_failure(self, error: TransportError) -> None:
        # The loss of the connection is logged elsewhere; another reason, such as a missing stream, may last.
        level = logging.INFO if self._fails or isinstance(error, NotConnected) else logging.WARNING
        self._fails = True
        fields = log_fields(LogEvent.HEARTBEAT_NOT_SENT, subject=_SUBJECT)
        _log.log(level, "a heartbeat of the service was skipped: %s", error, extra=fields)
