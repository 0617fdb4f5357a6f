"""Begins, steers and runs bulk actions, for an operator."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from pydantic import JsonValue
from trellis_nats import ConfigurationError, TrellisError
from trellis_nats._nats.jetstream.streams import get_next_message_from_leader
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.plural import plural
from trellis_nats.clock import now
from trellis_nats.errors import PermissionDenied, TransportError
from trellis_nats.ids import new_id
from trellis_nats.jobs.maintenance.leader import Leadership
from trellis_nats.jobs.model.subjects import EVENTS_PREFIX, STREAM

from trellis_admin.audit_log import KEPT_FOR, Action, AdminResourceMissing, Kind, Outcome, Phase, clean_text
from trellis_admin.bulk import changes
from trellis_admin.bulk.changes import BulkProblem
from trellis_admin.bulk.planning import BulkPlan, find_idle, plan_bulk
from trellis_admin.bulk.record import BEGIN_WITH, RATE, BulkAction, BulkRecord
from trellis_admin.bulk.runner import BulkRunner
from trellis_admin.bulk.store import BulkPage, BulkStore, lease_key
from trellis_admin.bulk.world import JobsWorld, audit_record, still_to_do
from trellis_admin.payloads import PayloadContract
from trellis_admin.queries import JobFilter, Selection, Word, select_targets
from trellis_admin.session import Session

__all__ = ["BulkActions", "CountDiffers"]

_log = logging.getLogger(__name__)

LEASE: Final = timedelta(seconds=15)
"""How long after the death of its process a bulk action continues in another one."""
_DONE: Final = {
    BulkAction.CANCEL: "cancelled",
    BulkAction.RETRY: "retried",
    BulkAction.REPLAY: "replayed",
    BulkAction.DISMISS: "dismissed",
    BulkAction.RECREATE: "created again",
}
_PRUNE_EVERY: Final = 24 * 3_600.0
"""Seconds between two looks for the records of old bulk actions."""
_WATCH_AGAIN: Final = 2.0
"""Seconds until the records are watched again after an error."""
_RUN_AGAIN: Final = 30.0
"""Seconds until a bulk action that could not be run is tried again."""


class CountDiffers(BulkProblem):
    """The confirmed number of jobs is not that of the selection. Nothing was changed."""

    def __init__(self, action: BulkAction, *, confirmed: int, count: int) -> None:
        super().__init__(
            f"nothing was {_DONE[action]}: you confirmed {confirmed:,}, and the filter has {plural(count, 'job')} now"
        )
        self.confirmed = confirmed
        self.count = count


def _ignore(_record: BulkRecord) -> None:
    """Show nothing."""


@dataclass(slots=True)
class BulkActions:
    """Acts on many jobs at once. A bulk action is a record that survives the process which runs it.

    `plan` counts, `start` stores the record, and `run` runs it; so does a process that serves (`trellis web`), which also
    continues what a process that died had begun.
    """

    session: Session
    contracts: Sequence[PayloadContract] = ()
    """The payload of a job is checked by the one that has its queue, before the job is sent again."""
    lease: timedelta = LEASE

    async def plan(
        self,
        action: BulkAction | str,
        query: str | JobFilter,
        *,
        at: int | None = None,
        seen_count: int | None = None,
    ) -> BulkPlan:
        """Count what a bulk action would do, without doing it.

        Args:
            action: `cancel`, `retry`, `replay`, `dismiss` or `recreate`.
            query: which jobs; those whose state the action does not take are left out.
            at: the sequence at which the caller has looked at them; None for now. Later changes are not selected.
            seen_count: how many the caller saw then: the dry run says how many have changed since.

        Raises:
            FilterProblem: the filter cannot be read.
            BulkProblem: it asks only for states that the action does not take.
            ConfigurationError: as `start`: jobs are to be created again, and no contract is known (`contract` of `connect`).
            TransportError: the server did not answer.
        """
        self._require_contract(BulkAction(action))
        plan = await plan_bulk(
            self.session, BulkAction(action), query, at=at, seen_count=seen_count, contracts=self.contracts
        )
        return replace(plan, idle=await find_idle(self.session, plan))

    async def start(
        self,
        plan: BulkPlan,
        *,
        confirm: int,
        reason: str | None = None,
        begin_with: int | None = BEGIN_WITH,
        rate: float | None = RATE,
    ) -> BulkRecord:
        """Store a bulk action, after its selection was counted again. It begins when a process runs it.

        Args:
            plan: as `plan` returned it; with `replace(plan, …)` from an address.
            confirm: how many jobs the operator confirmed.
            reason: why, for each job's history and the audit log.
            begin_with: after so many jobs it waits for `go_on`; None to do all without waiting.
            rate: jobs a second; None for as fast as possible.

        Raises:
            CountDiffers: the selection has another number of jobs.
            BulkProblem: it has none, or a number is out of range.
            AdminResourceMissing: the account may not store the audit log or the record.
            TransportError: the server did not answer.
        """
        self._require_contract(plan.action)
        changes.check_pace(rate, begin_with)
        now_selected = await plan_bulk(self.session, plan.action, plan.filter, at=plan.at)
        if confirm != now_selected.count:
            raise CountDiffers(plan.action, confirmed=confirm, count=now_selected.count)
        if confirm == 0:
            raise BulkProblem(
                f"no job matches {plan.filter.text or 'the filter'}: there is nothing to {plan.action}"
            )
        audit = self.session.audit
        first = begin_with if begin_with is not None and begin_with < confirm else None
        record = BulkRecord(
            id=new_id(),
            action=plan.action,
            filter=now_selected.filter.text,
            at=plan.at,
            at_stored=await self._when_stored(plan.at),
            count=confirm,
            actor=audit.actor,
            source=audit.source,
            reason=clean_text(reason or ""),
            created_at=now(),
            begin_with=first,
            rate=rate,
            dry_run=plan.dry_run.counts,
            contract=",".join(await self._list_checking(now_selected)),
            limit=first,
            counted_to=plan.at,
        )
        await audit.store(audit_record(record))
        try:
            await (await BulkStore.open(self.session.connection)).create(record)
        except Exception as error:
            await audit.store_outcome(audit_record(record), Outcome(Phase.FAILED, str(error), now()))
            raise
        return record

    async def read(self, bulk_id: str) -> BulkRecord:
        """Return a bulk action as it is now.

        Raises:
            BulkNotFound: there is none of this id.
            TransportError: the server did not answer.
        """
        return await BulkStore(self.session.connection).read(bulk_id)

    async def list_all(self) -> list[BulkRecord]:
        """Return all bulk actions, newest first. Raises as `read`."""
        return await BulkStore(self.session.connection).list_all()

    async def list_page(self, *, before: str | None = None, limit: int = 50) -> BulkPage:
        """Return a page of bulk actions, the newest first. `before` is the `next` of the page before. Raises as `read`."""
        return await BulkStore(self.session.connection).list_page(before=before, limit=limit)

    async def list_newest(self, actions: Collection[BulkAction], *, limit: int) -> list[BulkRecord]:
        """Return the newest bulk actions of some kinds. Raises as `read`."""
        return await BulkStore(self.session.connection).list_newest(actions, limit=limit)

    async def refusals(self, bulk_id: str) -> dict[str, str]:
        """Return why jobs were refused, by `<prefix>.<id>`: the first 1,000. Raises as `read`."""
        return await BulkStore(self.session.connection).read_refusals(bulk_id)

    async def pause(self, bulk_id: str, *, reason: str | None = None) -> BulkRecord:
        """Pause it, within half a second.

        Raises:
            BulkProblem: there is no such action, or it does not run.
            AdminResourceMissing: the account may not store the audit log.
            TransportError: the server did not answer.
        """
        return await self._command(Action.PAUSE, bulk_id, reason, changes.pause)

    async def go_on(self, bulk_id: str, *, reason: str | None = None) -> BulkRecord:
        """Let it go on, after it waited, was paused, or stopped because jobs died again. Raises as `pause`."""
        record = await self.read(bulk_id)
        outcomes = await JobsWorld(self.session).count_outcomes(record)
        return await self._command(
            Action.RESUME, bulk_id, reason, partial(changes.go_on, outcomes=outcomes, at=now())
        )

    async def change_rate(self, bulk_id: str, rate: float | None, *, reason: str | None = None) -> BulkRecord:
        """Change how many jobs it sends a second; None for as fast as possible. Raises as `pause`."""
        changes.check_rate(rate)
        reduce = partial(changes.change_rate, rate=rate)
        return await self._command(Action.RATE, bulk_id, reason, reduce, rate=rate)

    async def abort(self, bulk_id: str, *, reason: str | None = None) -> BulkRecord:
        """End it: no further job is sent. What was sent stays sent. Raises as `pause`.

        If no process runs it, call `run` to have what was sent counted for the last time.
        """
        note = clean_text(f"{self.session.audit.actor}: {reason}" if reason else self.session.audit.actor)
        return await self._command(Action.ABORT, bulk_id, reason, partial(changes.abort, note=note, at=now()))

    async def run(self, bulk_id: str, *, on_progress: Callable[[BulkRecord], None] = _ignore) -> BulkRecord:
        """Run it until it is done, waits, or was paused, stopped or aborted, and return it as it is then.

        While another process runs it, this one waits, and continues if that one dies.

        Args:
            bulk_id: its id.
            on_progress: called with the record about twice a second.

        Raises:
            BulkProblem: there is no such action; or it checks payloads against a contract that is not known here.
            AdminResourceMissing: the account may not write its record.
            TransportError: the server refused what is needed to go on.
        """
        store = await BulkStore.open(self.session.connection)
        record = await store.read(bulk_id)
        # Another version of a contract that it names may be known here too: the one that it names counts.
        contracts = sorted(self.contracts, key=lambda contract: contract.digest not in record.contracts)
        world = JobsWorld(self.session, contracts)
        while record.needs_runner:
            if unknown := self.find_unknown(record):
                raise BulkProblem(
                    f"bulk action {bulk_id} checks payloads against contract {' and '.join(unknown)}, which is not known here: "
                    "name its generated package"
                )
            me = new_id()
            async with self._held_lease(store, bulk_id, me) as leadership:
                record = await store.read(bulk_id)
                if record.needs_runner:
                    runner = BulkRunner(bulk_id, me, store, world, lambda: leadership.is_held, on_progress)
                    record = await runner.run()
        return record

    async def serve(self, *, on_record: Callable[[BulkRecord], None] = _ignore) -> None:
        """Run every bulk action that needs a process, those that begin later too, until cancelled.

        Those that check payloads against a contract which is not known here are left to processes that have it.
        Several processes may do so: one of them runs each action, and another one continues if that one dies. Once a day, records
        are removed of actions that ended as long ago as the audit log reaches back.

        Args:
            on_record: called with each record as it is when this begins, and with each change of one.

        Raises:
            AdminResourceMissing: the bucket does not exist, and the account may not create it.
        """
        store = await BulkStore.open(self.session.connection)
        serving = _Serving(self)
        pruning = asyncio.create_task(_prune_daily(store), name="old bulk actions")
        try:
            while True:
                try:
                    async for stored in store.bucket.watch("bulk.*"):
                        record = BulkRecord.parse(stored.value)
                        if record is None:
                            continue
                        on_record(record)
                        if record.needs_runner and not self.find_unknown(record):
                            serving.wake(record.id)
                except TransportError as error:
                    _log.warning(
                        "bulk actions are not watched: %s", error, extra=log_fields(LogEvent.BULK_NOT_RUN)
                    )
                await asyncio.sleep(_WATCH_AGAIN)
        finally:
            pruning.cancel()
            await serving.stop()

    def find_unknown(self, record: BulkRecord) -> list[str]:
        """Return the contracts, by shortened digests, that this process would have to know in order to run a bulk action."""
        known = {contract.digest for contract in self.contracts}
        return [] if record.is_final else [digest[:8] for digest in record.contracts if digest not in known]

    def _require_contract(self, action: BulkAction) -> None:
        if action is BulkAction.RECREATE and not self.contracts:
            raise ConfigurationError(
                "the contract of a queue has the limits of its concurrency keys, and no contract is known: name a generated "
                "package (`--contract PACKAGE`, in Python `contract=`)"
            )

    async def _list_checking(self, plan: BulkPlan) -> list[str]:
        """Return the digests of the contracts that have queues of selected jobs which are sent again."""
        checking: list[str] = []
        for contract in self.contracts if plan.action.sends else ():
            own = Selection(plan.filter.with_term(Word.QUEUE, *contract.prefixes), plan.at)
            if await self.session.ask(select_targets, own, limit=1, condition=still_to_do(plan.action)):
                checking.append(contract.digest)
        return checking

    async def _when_stored(self, sequence: int) -> datetime | None:
        """Return when a message of stream JOBS was stored; None if the stream does not have it any longer."""
        found = await get_next_message_from_leader(
            self.session.connection, STREAM, f"{EVENTS_PREFIX}.>", sequence
        )
        return found.time if found is not None and found.sequence == sequence else None

    async def _command(
        self,
        action: Action,
        bulk_id: str,
        reason: str | None,
        reduce: Callable[[BulkRecord], BulkRecord],
        **detail: JsonValue,
    ) -> BulkRecord:
        store = BulkStore(self.session.connection)
        await store.read(bulk_id)
        target: dict[str, JsonValue] = {"bulk": bulk_id, **detail}
        async with self.session.audit.action(Kind.BULK, action, target, reason=reason) as audited:
            record = await store.change(bulk_id, reduce)
            audited.done(f"it is {record.state}", sent=record.sent, count=record.count)
        return record

    @asynccontextmanager
    async def _held_lease(self, store: BulkStore, bulk_id: str, me: str) -> AsyncGenerator[Leadership]:
        """Hold the lease of a bulk action for the length of the block."""
        leadership = Leadership(store.bucket, lease_key(bulk_id), me=me, length=self.lease)
        renewing = asyncio.create_task(leadership.run())
        held = asyncio.create_task(leadership.wait_until_held())
        try:
            await asyncio.wait([renewing, held], return_when=asyncio.FIRST_COMPLETED)
            if renewing.done():
                renewing.result()
            yield leadership
        except PermissionDenied as denial:
            raise AdminResourceMissing(
                f"the bulk action cannot be run: {denial}; connect with an account that has the role operator: "
                'permissions(…, "operator") lists what it needs'
            ) from denial
        finally:
            for task in (renewing, held):
                task.cancel()
            await asyncio.gather(renewing, held, return_exceptions=True)
            await leadership.release()


async def _prune_daily(store: BulkStore) -> None:
    while True:
        try:
            await store.prune(now() - KEPT_FOR)
        except TransportError as error:
            _log.info("old bulk actions are kept: %s", error, extra=log_fields(LogEvent.BULK_NOT_PRUNED))
        await asyncio.sleep(_PRUNE_EVERY)


class _Serving:
    """The bulk actions that a process runs or waits for."""

    def __init__(self, bulk: BulkActions) -> None:
        self._bulk = bulk
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._woken: set[str] = set()
        """Those whose records changed since a process began to run them: they may need one again."""

    def wake(self, bulk_id: str) -> None:
        """Run a bulk action, if it is not run by this process already."""
        self._woken.add(bulk_id)
        if bulk_id not in self._tasks:
            self._tasks[bulk_id] = asyncio.create_task(self._run(bulk_id))

    async def stop(self) -> None:
        """Stop what runs. Other processes, or this one later, continue it."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, bulk_id: str) -> None:
        try:
            while bulk_id in self._woken:
                self._woken.discard(bulk_id)
                try:
                    await self._bulk.run(bulk_id)
                except AdminResourceMissing as denial:  # an account that may only read: it runs nothing
                    self._log(bulk_id, denial)
                except (TrellisError, sqlite3.Error) as error:
                    self._log(bulk_id, error)
                    await asyncio.sleep(_RUN_AGAIN)
                    self._woken.add(bulk_id)
        finally:
            del self._tasks[bulk_id]

    def _log(self, bulk_id: str, error: Exception) -> None:
        fields = log_fields(LogEvent.BULK_NOT_RUN)
        _log.warning("bulk action %s is not run here: %s", bulk_id, error, extra=fields)
