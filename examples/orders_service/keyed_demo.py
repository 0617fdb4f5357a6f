"""The part of the demo about concurrency keys: the same job submitted three times, and the three answers."""

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
    """Submit three jobs of one key to each keyed queue; print the answers and how the jobs ended."""
    jobs = service.jobs
    console.print(
        "\nConcurrency keys: one job runs, one waits, and the contract decides about the third:\n",
        soft_wrap=True,
    )
    waits = [
        *await submit_each(console, jobs.sync_tickets, [SyncTicketsPayload(origin="acme")] * 3),
        *await submit_each(console, jobs.refresh_catalog, [RefreshCatalogPayload(supplier="north")] * 3),
        *await submit_each(
            console,
            jobs.publish_stock,
            [PublishStockPayload(product_id="p-7", quantity=n) for n in (9, 8, 7)],
        ),
    ]
    states = Counter(await asyncio.gather(*waits))
    summary = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    console.print(f"\n{states.total()} jobs were stored: {summary}")


async def wait_until_started(ref: JobRef[PayloadT, ResultT]) -> None:
    """Wait until a handler has started on a job."""
    async with aclosing(ref.events()) as events:
        async for event in events:
            if event.event == "started":
                return


async def wait_until_ended(ref: JobRef[PayloadT, ResultT]) -> JobState:
    """Wait for the end of a job and return its final state."""
    return (await ref.wait()).state


async def submit_each(
    console: Console, queue: JobQueue[PayloadT, ResultT], payloads: Sequence[PayloadT]
) -> list[Coroutine[object, object, JobState]]:
    """Submit jobs of one key, the others while the first one runs; return a wait for each job that was stored."""
    refs: list[JobRef[PayloadT, ResultT]] = []
    for payload in payloads:
        outcome = await queue.submit(payload)
        match outcome:
            case Accepted(ref=ref, key=key):
                refs.append(ref)
                answer = "accepted, running" if len(refs) == 1 else "accepted, waiting"
            case Rejected(key=key, reason=reason, active=active, queued=queued):
                answer = f"rejected ({reason}): {active} active, {queued} waiting"
            case Coalesced(existing=existing, key=key):
                answer = f"coalesced into job …{existing.id[-4:]}"
            case Replaced(ref=ref, replaced=replaced, key=key):
                refs.append(ref)
                answer = f"accepted in place of job …{replaced.id[-4:]}"
        console.print(f"  {queue.spec.name:<16}{key or '':<21} {answer}", soft_wrap=True)
        if len(refs) == 1:
            await wait_until_started(refs[0])
    return [wait_until_ended(ref) for ref in refs]
