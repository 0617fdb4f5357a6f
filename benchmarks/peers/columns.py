"""The systems that are compared with ours: how each is run, and what it leaves out.

Each column is a script that runs in a process and on a server of its own, so that `Column.measure` can be called from
any benchmark. Those of others run in .venv/peers, which `make peers` builds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from trellis_nats.testing import NatsServer

from .redis_server import find_redis, redis_server
from .workload import Rates

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
PEERS_PYTHON: Final = ROOT / ".venv/peers/bin/python"
HOW_TO_HAVE_THEM: Final = "make peers"
_PATIENCE_SECONDS: Final = 300.0


@dataclass(frozen=True)
class Column:
    """One system."""

    name: str
    script: str
    configured: str
    """What was configured differently from the defaults."""
    leaves_out: str
    """What ours does in this measurement and this does not."""
    python: Path = PEERS_PYTHON
    on_redis: bool = False

    @property
    def missing(self) -> str | None:
        """Why it cannot be measured here; None where it can."""
        if not self.python.exists():
            return f"there is no .venv/peers; have it by: {HOW_TO_HAVE_THEM}"
        if self.on_redis and find_redis() is None:
            return "there is no redis-server in .venv/peers or on the PATH"
        return None

    def measure(self, *, jobs: int, concurrency: int) -> Rates:
        """Create and work `jobs` jobs of 200 bytes, with `concurrency` handlers at a time.

        Raises:
            RuntimeError: the script failed; the message has the end of its output.
        """
        with self._server() as url:
            done = subprocess.run(  # noqa: S603 - our own script
                [self.python, HERE / self.script, url, str(jobs), str(concurrency)],
                capture_output=True,
                text=True,
                timeout=_PATIENCE_SECONDS,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"{self.script} failed: {done.stderr[-2000:]}")
        return cast("Rates", json.loads(done.stdout))

    @contextmanager
    def _server(self) -> Generator[str]:
        program = find_redis() if self.on_redis else None
        if program is not None:
            with redis_server(program) as url:
                yield url
        else:
            with NatsServer() as server:
                yield server.url


OURS: Final = Column(
    name="trellis-nats",
    script="with_trellis_nats.py",
    configured="concurrency",
    leaves_out="",
    python=Path(sys.executable),
)
TASKIQ_NATS: Final = Column(
    name="taskiq-nats",
    script="with_taskiq_nats.py",
    configured=(
        "`PullBasedJetStreamBroker`, `pull_consume_batch=100`, `pull_consume_timeout=5`, `max_prefetch=100`, "
        "`max_async_tasks` of the concurrency; the stream has taskiq-nats's defaults (file storage)"
    ),
    leaves_out=(
        "stored events of a job's life (created, started, completed), the stored result (no result backend is the "
        "default), a confirmed acknowledgement (`ack`, not `ack_sync`), heartbeats while a handler runs, retries (a task "
        "that raised is acknowledged; its retry middlewares, which publish it again, were not used), a message id against "
        "duplicates"
    ),
)
FASTSTREAM: Final = Column(
    name="FastStream",
    script="with_faststream.py",
    configured=(
        "`NatsBroker`, durable pull subscriber as its own warning recommends, `PullSub(batch_size=100)`, `max_workers` of "
        "the concurrency; at a concurrency of 1 `batch_size=1`, because its pull subscriber without `max_workers` handles "
        "a batch at once; `logger=None`; file storage"
    ),
    leaves_out=(
        "stored events of a job's life, results (a reply at most), a confirmed acknowledgement, heartbeats "
        "(`message.in_progress()` by hand), retries with a wait (an exception rejects, or is redelivered at once), a "
        "message id against duplicates"
    ),
)
ARQ: Final = Column(
    name="arq",
    script="with_arq.py",
    configured=(
        "`max_jobs` of the concurrency, `poll_delay=0.0005` (default 0.5); Redis with `appendonly yes`, "
        "`appendfsync everysec`, no snapshots"
    ),
    leaves_out=(
        "stored events of a job's life (the last state and, for an hour, the result are kept), heartbeats (a job of a "
        "killed worker waits for `job_timeout` + 10 s, by default 310 s), retries after an exception (only `Retry` and "
        "cancellation are tried again)"
    ),
    on_redis=True,
)
PEERS: Final = (TASKIQ_NATS, FASTSTREAM, ARQ)


def left_out() -> list[str]:
    """Return a line for each reason for which peers cannot be measured here; none where all can."""
    reasons: dict[str, list[str]] = {}
    for column in PEERS:
        if column.missing is not None:
            reasons.setdefault(column.missing, []).append(column.name)
    return [f"left out: {', '.join(names)}: {reason}" for reason, names in reasons.items()]
