"""Plans and applies what a service requires on a server."""

from __future__ import annotations

from dataclasses import dataclass

from trellis_nats import Contract, Options, Runtime, Service
from trellis_nats.connect import default_replicas, open_connection
from trellis_nats.errors import PermissionDenied
from trellis_nats.jobs.maintenance.removed_queues import RemovedQueue, find_removed_queues
from trellis_nats.provision import Applied, Change, Update, apply_changes, plan, plan_changes, read_state

__all__ = ["ServicePlan", "apply_service", "plan_service"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServicePlan:
    """What one contract changes on a server, and after `apply` what became of it."""

    contract: Contract
    changes: tuple[Change, ...]
    removed_queues: tuple[RemovedQueue, ...]
    applied: tuple[Applied, ...] | None = None
    """In the order of the changes; None if nothing was applied."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left: nothing differs, or everything was applied."""
        if self.applied is not None:
            return all(applied.done for applied in self.applied)
        differs = any(not isinstance(change, Update) or change.settings for change in self.changes)
        return not differs and not self.removed_queues


async def plan_service(service: type[Service], server: str, options: Options) -> ServicePlan:
    """Compare what a server has with what a service requires.

    Raises:
        TrellisError: the server cannot be reached, or the account may not look something up.
    """
    runtime = Runtime(service.contract, options)
    service(runtime)
    async with open_connection(runtime, server) as connection:
        wanted = plan(runtime.requirements())
        changes = plan_changes(wanted, await read_state(connection, wanted), service.contract)
        try:
            removed = await find_removed_queues(connection, service.contract.name, runtime.binding.jobs)
        except PermissionDenied:  # the contract has no jobs, and the account may not look up those of others
            removed = []
    return ServicePlan(contract=service.contract, changes=tuple(changes), removed_queues=tuple(removed))


async def apply_service(
    service: type[Service], server: str, options: Options, *, allow_destroy: bool
) -> ServicePlan:
    """Plan, and apply the plan.

    Raises:
        TrellisError: the server cannot be reached, or the account may not look something up.
    """
    planned = await plan_service(service, server, options)
    runtime = Runtime(service.contract, options)
    async with open_connection(runtime, server) as connection:
        applied = await apply_changes(
            connection,
            planned.changes,
            service.contract,
            replicas=default_replicas(runtime, connection),
            max_bytes=options.max_bytes,
            allow_destroy=allow_destroy,
        )
    return ServicePlan(
        contract=planned.contract,
        changes=planned.changes,
        removed_queues=planned.removed_queues,
        applied=tuple(applied),
    )
