"""A shop whose jobs end in all ways, and the command `trellis` on it, with texts that do not depend on the run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from trellis_nats.testing import NatsServer

from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.trellis_command import Ended, run_trellis_here

__all__ = ["Operated", "normalise", "operated_shop"]

_ID = re.compile(r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?")
_CLOCK = re.compile(r"\b\d\d:\d\d:\d\d\.\d{3}\b")
_AGE = re.compile(r"\b\d+ [smhd] ago\b|\bin \d+ [smhd]\b|\b[\d.]+ s earlier\b")
_LENGTH = re.compile(r"\b\d+\.\d+ s\b")
_TRACE = re.compile(r"\b[0-9a-f]{32}\b")


@dataclass
class Operated:
    """A shop, and what was created in it."""

    server: NatsServer
    shop: Shop
    dead: list[str] = field(default_factory=list[str])
    completed: list[str] = field(default_factory=list[str])
    waiting: str = ""
    """A job of a queue without a worker."""
    is_up: bool = False
    """Whether the gateway answers."""
    may_ship: asyncio.Event = field(default_factory=asyncio.Event)
    """Set it to let the jobs of queue `ship` end."""

    async def run(self, *arguments: str) -> Ended:
        """Run the command on its server, in a thread."""
        return await run_trellis_here(*arguments, "--server", self.server.url)


@asynccontextmanager
async def operated_shop(server: NatsServer) -> AsyncGenerator[Operated]:
    """Run a shop with two completed jobs, three dead ones of one error, and one that waits."""
    async with Shop.connect(server.url) as shop:
        operated = Operated(server, shop)

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            await job.log("asking the gateway")
            if job.payload.number % 2 and not operated.is_up:
                raise TimeoutError(f"gateway {job.payload.number} did not answer")
            return Receipt(total=job.payload.number)

        @shop.jobs.ship.handle
        async def ship(_: ParcelJob) -> Receipt:
            await operated.may_ship.wait()
            return Receipt(total=1)

        await shop.start()
        for number in range(5):
            ref = await shop.jobs.pack.create(Parcel(number=number, note="secret" if number == 1 else None))
            await ref.wait()
            (operated.dead if number % 2 else operated.completed).append(ref.id)
        operated.waiting = (await shop.jobs.charge.create(Parcel(number=1))).id
        try:
            yield operated
        finally:
            operated.may_ship.set()


def normalise(text: str) -> str:
    """Replace what differs in each run: ids by their order, times, sequences and the widths of columns."""
    ids: dict[str, str] = {}
    text = _ID.sub(lambda match: ids.setdefault(match[0], f"<id{len(ids) + 1}>"), text)
    text = _TRACE.sub("<trace>", text)
    for pattern, mark in ((_INSTANT, "<time>"), (_CLOCK, "<clock>"), (_AGE, "<age>"), (_LENGTH, "<length>")):
        text = pattern.sub(mark, text)
    text = re.sub(r"sequence [\d,]+", "sequence <n>", text)
    text = re.sub(r"--at \d+ --before \d+", "--at <n> --before <n>", text)
    return "\n".join(re.sub(r"(?<=\S) {2,}", "  ", line).rstrip() for line in text.splitlines())
