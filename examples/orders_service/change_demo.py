"""The part of the demo about a deploy: the next version of the contract is checked, audited, and rolled out next to the first.

Both versions run in this process here, so that the next one's package has a name of its own; usually it keeps its name.
"""

import asyncio
from pathlib import Path

import orders_next_participant as following
import orders_participant as first
from next_version import register_upcasters
from rich.console import Console
from trellis_admin.audit import Audit, audit_service
from trellis_nats import JobRef, JobState, Options
from trellis_nats.testing import NatsServer

from trellis_codegen.breaking.comparison import compare_contracts
from trellis_codegen.contract.reading import read_manifest

CONTRACTS = Path(__file__).parents[2] / "contracts"
MANIFEST = "orders_service.manifest.json"
JOBS = 3
"""How many jobs each version creates."""


async def show_change(console: Console) -> None:
    """Replace the first version of the service by the next one while jobs wait, on a server of its own."""
    console.print(
        '\nA deploy: the next version of the contract calls the "amountCents" of a payment "totalCents":\n',
        soft_wrap=True,
    )
    print_breaks(console)
    async with (
        NatsServer() as server,
        first.OrdersService.connect(server.url) as old,
        following.OrdersService.connect(server.url) as new,
    ):
        refs = [await old.jobs.charge_payment.create(payload) for payload in first_payments()]
        report(console, "trellis audit", await audit_service(following.OrdersService, server.url, Options()))
        register_upcasters(new)
        report(console, "with an upcaster", await audit_service(new, server.url, Options()))

        console.print(
            "\nBoth versions run, then the next one alone. A worker gives back what it cannot read, without an attempt:\n",
            soft_wrap=True,
        )
        register_first(old)
        register_next(new)
        await asyncio.gather(old.start(), new.start())
        refs_of_next = [await new.jobs.charge_payment.create(payload) for payload in next_payments()]
        ends = await asyncio.gather(*(print_end(console, ref, "first") for ref in refs))
        await old.stop()
        ends += await asyncio.gather(*(print_end(console, ref, "next") for ref in refs_of_next))
    completed = ends.count((JobState.COMPLETED, 1))
    console.print(f"\n{len(ends)} jobs of two versions: {completed} completed at their first attempt")


def print_breaks(console: Console) -> None:
    """Print what the next version of the contract breaks."""
    old, new = (
        read_manifest((folder / MANIFEST).read_bytes()).manifest for folder in (CONTRACTS, CONTRACTS / "next")
    )
    for finding in compare_contracts(old, new):
        console.print(
            f"  {'trellis-gen breaking':<21} [red]{finding.grade}[/red] {finding.rule}", soft_wrap=True
        )
        console.print(f"  {'':<21} {finding.message}", soft_wrap=True)


def report(console: Console, command: str, audit: Audit) -> None:
    """Print what the next version makes of the jobs that wait."""
    failures = [
        f"{place}: {failure.text}"
        for subject in audit.subjects
        for (_, place), failure in subject.failures.items()
    ]
    answer = (
        f"[red]refuses {audit.refused} of them[/red], {failures[0]}"
        if failures
        else "[green]reads all of them[/green]"
    )
    console.print(
        f"  {command:<21} {audit.values} jobs of the first version wait: the next one {answer}",
        soft_wrap=True,
    )


def first_payments() -> list[first.ChargePaymentPayload]:
    """Return payments, as the first version writes them."""
    return [
        first.ChargePaymentPayload(order_id=f"o-{number}", customer_id="c-42", amount_cents=1999)
        for number in range(JOBS)
    ]


def next_payments() -> list[following.ChargePaymentPayload]:
    """Return payments, as the next version writes them."""
    return [
        following.ChargePaymentPayload(order_id=f"o-{number}", customer_id="c-42", total_cents=1999)
        for number in range(JOBS)
    ]


def work_payments_only(service: first.OrdersService | following.OrdersService) -> None:
    """Leave everything but payments to other processes."""
    service.consumers.shipped_audit.leave_to_others()
    jobs = service.jobs
    for queue in (
        jobs.reserve_inventory,
        jobs.notify_warehouse,
        jobs.sync_tickets,
        jobs.refresh_catalog,
        jobs.publish_stock,
    ):
        queue.leave_to_others()


def register_first(service: first.OrdersService) -> None:
    """Register the handler of the first version. Its result says which version it is."""
    work_payments_only(service)

    @service.jobs.charge_payment.handle
    async def charge_payment(job: first.ChargePaymentJob) -> first.ChargePaymentResult:
        return first.ChargePaymentResult(
            charge_id=f"first version charged {job.payload.amount_cents:g} cents"
        )


def register_next(service: following.OrdersService) -> None:
    """Register the handler of the next version."""
    work_payments_only(service)

    @service.jobs.charge_payment.handle
    async def charge_payment(job: following.ChargePaymentJob) -> following.ChargePaymentResult:
        return following.ChargePaymentResult(
            charge_id=f"next version charged {job.payload.total_cents:g} cents"
        )


async def print_end(
    console: Console,
    ref: JobRef[first.ChargePaymentPayload, first.ChargePaymentResult]
    | JobRef[following.ChargePaymentPayload, following.ChargePaymentResult],
    writer: str,
) -> tuple[JobState, int]:
    """Print how a job has ended; return its state and its attempts."""
    snapshot = await ref.wait()
    result = snapshot.result
    done = "" if result is None else result.charge_id
    console.print(
        f"  job …{ref.id[-4:]} of the {writer:<5} version  [green]{snapshot.state}[/green]  attempt {snapshot.tries}  the {done}",
        soft_wrap=True,
    )
    return snapshot.state, snapshot.tries
