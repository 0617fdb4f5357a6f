"""Good calls while a flood of refused requests arrives: how long they take, and what the service logs meanwhile."""

from __future__ import annotations

import json
import logging
import resource
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import quantiles
from typing import Final

from trellis_nats import CallersFile, Options, TrellisError
from trellis_nats.auth import SessionKey
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.python_process import python_process
from tests.support.vault import ALL, READ, Thing, VaultClient, running

__all__ = ["Outcome", "flood"]

_IN_BODY: Final = "a-secret-of-the-body"
_SOON: Final = timedelta(seconds=60)
_ALONE: Final = 200
"""Good calls before the flood."""


@dataclass
class Outcome:
    """What became of the good calls."""

    sent: int = 0
    """Bad requests."""
    before: list[float] = field(default_factory=list[float])
    """Seconds that good calls took without the flood."""
    during: list[float] = field(default_factory=list[float])
    failed: Counter[str] = field(default_factory=Counter[str])
    """The errors of good calls."""
    grown_bytes: int = 0
    """By how much the largest size of the process grew."""
    lines: Counter[str] = field(default_factory=Counter[str])
    """The lines of the log, warnings and worse, by event."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Processor time of service and client during the flood."""

    def __str__(self) -> str:
        parts = [
            f"{self.sent} bad requests in {self.seconds:.1f} s, {self.cpu_seconds:.1f} s on the processor"
        ]
        for name, times in (("before", self.before), ("during", self.during)):
            cuts = quantiles(times, n=100)
            parts.append(
                f"{name}: {len(times)} good, p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms"
            )
        parts.append(
            f"failed {dict(self.failed)}, {self.grown_bytes / 1e6:.0f} MB more, logged {dict(self.lines)}"
        )
        return "; ".join(parts)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _write_callers(path: Path, *keys: SessionKey) -> CallersFile:
    callers = [{"key": key.public, "name": "known", "capabilities": list(ALL)} for key in keys]
    path.write_text(json.dumps({"format": "trellis.callers.v1", "callers": callers}))
    path.chmod(0o600)
    return CallersFile(path)


async def flood(server: NatsServer, folder: Path, *, rate: int, seconds: float) -> Outcome:
    """Call a service one call after the other, first alone and then during a flood.

    Raises:
        AssertionError: the log has a secret, more than a line a second, or something else than refusals.
    """
    outcome, good, stolen = Outcome(), SessionKey.generate(), SessionKey.generate()
    callers = _write_callers(folder / "callers.json", good, stolen)
    async with (
        running(server.url, callers),
        VaultClient.connect(server.url, options=Options(session_key=good)) as client,
    ):

        async def call(into: list[float]) -> None:
            began = time.monotonic()
            try:
                assert (await client.read(Thing(name="good"), timeout=_SOON)).name == "good"
            except TrellisError as error:
                outcome.failed[type(error).__name__] += 1
            else:
                into.append(time.monotonic() - began)

        for _ in range(_ALONE):
            await call(outcome.before)
        peak = _peak_bytes()
        with LogSignals(logging.WARNING) as signals:
            body = json.dumps({"name": _IN_BODY})
            arguments = (server.port, READ.subject, body, stolen.seed, rate, seconds)
            began, cpu = time.monotonic(), time.process_time()
            async with python_process("tests.support.flood", *arguments) as process:
                while process.returncode is None:
                    await call(outcome.during)
                outcome.sent = int(await process.stdout.readline())
            outcome.seconds, outcome.cpu_seconds = time.monotonic() - began, time.process_time() - cpu
        outcome.grown_bytes = _peak_bytes() - peak
        await call([])
    outcome.lines = Counter(str(vars(record)["event_name"]) for record in signals.records)
    shown = repr([vars(record) for record in signals.records]) + repr((callers, good, stolen))
    assert not any(secret in shown for secret in (good.seed, stolen.seed, _IN_BODY))
    assert outcome.lines.keys() <= {LogEvent.CALL_REFUSED, LogEvent.CONSUMER_SILENT}, outcome
    assert outcome.lines[LogEvent.CALL_REFUSED] <= 2 * (outcome.seconds + 2), outcome  # of two kinds
    return outcome
