"""An operator in a process of its own, to be killed: it replays dead jobs of the shop, with an edited payload if it is told so.

Run as `python -m tests.support.operator_process URL KIND JOB:SEEN …`, where KIND is `replay` or `edit`. It prints `done JOB` or
`refused JOB` for each job.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from trellis_nats import ActionRefused
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.codec import JsonText
from trellis_nats.jobs.actions.job_actions import job_actions
from trellis_nats.jobs.actions.replacement import EditedPayload, replacements
from trellis_nats.jobs.model.admin_action import AdminAction

from tests.support.python_process import PythonProcess, python_process
from tests.support.shop_process import say

__all__ = ["as_arguments", "operate", "operator_process"]

PREFIX: Final = "trellis.jobs.shop.pack"
BY: Final = AdminAction(actor="anna", reason="it works again")
EDITED: Final = EditedPayload(JsonText({"number": 2}, b'{"number":2}'), writer="x" * 43)


async def operate(url: str, kind: str, jobs: list[str]) -> None:
    """Act on each job, one after the other."""
    connection = await Connection.open(url, settings=ConnectionSettings(name="operator"))
    actions, replays = job_actions(connection, PREFIX), replacements(connection, PREFIX)
    for job in jobs:
        job_id, _, seen = job.partition(":")
        try:
            if kind == "replay":
                await actions.replay(job_id, BY, seen=int(seen))
            else:
                await replays.replay(job_id, EDITED, BY, request_id=f"request-{job_id}", seen=int(seen))
        except ActionRefused:
            say("refused", job_id)
        else:
            say("done", job_id)
    await connection.close()


def as_arguments(jobs: Mapping[str, int]) -> list[str]:
    """Write jobs, and the sequence that was seen of each, as `operate` reads them."""
    return [f"{job_id}:{seen}" for job_id, seen in jobs.items()]


@contextlib.asynccontextmanager
async def operator_process(
    url: str, kind: str, jobs: Mapping[str, int]
) -> AsyncGenerator[PythonProcess, None]:
    """Run the process for the length of an `async with` block. `jobs` has the sequence that was seen of each job."""
    async with python_process("tests.support.operator_process", url, kind, *as_arguments(jobs)) as process:
        yield process


if __name__ == "__main__":
    asyncio.run(operate(sys.argv[1], sys.argv[2], sys.argv[3:]))
