"""The part of the demo about concurrency keys: the same job asked for three times, and what each time is answered."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from typing import TypeVar

from orders_participant import OrdersService, PublishStockPayload, RefreshCatalogPayload, SyncTicketsPayload
from rich.console import Console
from trellis_nats import Accepted, Coalesced, JobQueue, JobRef, JobState, Rejected, Replaced

PayloadT = TypeVar("PayloadT")
ResultT = TypeVar("ResultT")


async def show_keys(console: Console, service: OrdersService) -> None:
    """Ask each keyed queue for three jobs of one key, and tell the answers and how the jobs ended."""
    jobs = service.jobs
    console.print(
        "\nConcurrency keys: one run at a time, one waits, and the contract says what becomes of a third:\n",
        soft_wrap=True,
    )
    waits = [
        *await ask(console, jobs.sync_tickets, [SyncTicketsPayload(origin="acme")] * 3),
        *await ask(console, jobs.refresh_catalog, [RefreshCatalogPayload(supplier="north")] * 3),
        *await ask(
            console,
            jobs.publish_stock,
            [PublishStockPayload(product_id="p-7", quantity=n) for n in (9, 8, 7)],
        ),
    ]
    states = Counter(await asyncio.gather(*waits))
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    console.print(f"\n{states.total()} jobs were stored: {told}")


async def begun(ref: JobRef[PayloadT, ResultT]) -> None:
    """Wait until a handler works on a job."""
    async with aclosing(ref.events()) as events:
        async for event in events:
            if event.event == "started":
                return


async def ended(ref: JobRef[PayloadT, ResultT]) -> JobState:
    """Return how a job ends."""
    return (await ref.wait()).state


async def ask(
    console: Console, queue: JobQueue[PayloadT, ResultT], payloads: Sequence[PayloadT]
) -> list[Coroutine[object, object, JobState]]:
    """Submit jobs of one key, the others while the first one runs; return what waits for those that were stored."""
    refs: list[JobRef[PayloadT, ResultT]] = []
    for payload in payloads:
        outcome = await queue.submit(payload)
        match outcome:
            case Accepted(ref=ref, key=key):
                refs.append(ref)
                answer = "accepted, and runs" if len(refs) == 1 else "accepted, and waits"
            case Rejected(key=key, reason=reason, active=active, queued=queued):
                answer = f"rejected ({reason}): {active} active, {queued} waiting"
            case Coalesced(existing=existing, key=key):
                answer = f"coalesced: job …{existing.id[-4:]} will see it"
            case Replaced(ref=ref, replaced=replaced, key=key):
                refs.append(ref)
                answer = f"accepted in place of job …{replaced.id[-4:]}"
        console.print(f"  {queue.spec.name:<16}{key or '':<21} {answer}", soft_wrap=True)
        if len(refs) == 1:
            await begun(refs[0])
    return [ended(ref) for ref in refs]
