"""One instance of a service in a process of its own, of one version: it creates jobs and works them until SIGTERM.

Without a payload it creates none. It prints `ready` once it works.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import JsonValue, TypeAdapter
from trellis_nats import Service

from tests.support.rolling.versions import Version, find_participant, member

__all__ = ["QUEUE", "Instance", "run_instance"]

ROOT: Final = Path(__file__).parents[3]
QUEUE: Final = "q"
_PAUSE: Final = 0.02
"""Seconds between two jobs that an instance creates, and the length of each."""


async def main(url: str, folder: str, package: str, payload: JsonValue, old_digest: str) -> None:
    """Run the instance. An old digest is that of the version whose payloads it upcasts."""
    sys.path.insert(0, folder)
    module = importlib.import_module(package)
    async with find_participant(module, Service).connect(url) as service:
        queue = member(service, "jobs", QUEUE)
        model: TypeAdapter[object] = TypeAdapter(queue.spec.payload)

        def upcast(old: Mapping[str, JsonValue]) -> object:
            return model.validate_python({**old, "grams": 1})

        queue.handle(_work)
        if old_digest:
            queue.upcast(upcast, from_digest=old_digest)
        running: asyncio.Task[None] = asyncio.create_task(service.run())
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while payload is not None and not running.done():
            await queue.create(model.validate_json(json.dumps(payload), strict=True))
            await asyncio.wait([running], timeout=_PAUSE)
        await running


async def _work(job: Any) -> None:  # Any: each version has its own types
    await asyncio.sleep(_PAUSE)


class Instance:
    """The process, as the test sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def stop(self) -> None:
        """Stop it as an orchestrator does.

        Raises:
            AssertionError: it ended with an error.
        """
        self._process.terminate()
        _, errors = await self._process.communicate()
        assert self._process.returncode == 0, errors.decode()

    async def kill(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


@contextlib.asynccontextmanager
async def run_instance(
    url: str, version: Version, payload: JsonValue, *, old: Version | None = None
) -> AsyncGenerator[Instance]:
    """Run an instance of a version until the block ends, or until it is stopped. It upcasts payloads of `old`."""
    package = Path(str(version.package.__file__)).parent
    digest = "" if old is None else old.service.contract.digest
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, url, str(package.parent), package.name),
        *(json.dumps(payload), digest),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    instance = Instance(process)
    try:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if line != b"ready\n":
            _, errors = await process.communicate()
            raise AssertionError(f"the instance did not start: {errors.decode()}")
        yield instance
    finally:
        await instance.kill()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4]), sys.argv[5]))
