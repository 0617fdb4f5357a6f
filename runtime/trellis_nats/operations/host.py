"""What all operations of a service share in one process: their bucket, the feed of its changes, and what runs where."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator
from datetime import timedelta
from functools import cached_property

from typing_extensions import override

from trellis_nats._nats.jetstream.kv import KvBucket, KvRecord
from trellis_nats._nats.read_budget import AnswerSize
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.binding import Binding, OperationsBinding
from trellis_nats.errors import TransportError
from trellis_nats.grants import Grant, Role, StartCheck
from trellis_nats.operations.execution import OperationExecution, Upload
from trellis_nats.operations.grants import create_grants, purge_grant, store_grants
from trellis_nats.operations.lease import LeaseTiming, RunnerLease
from trellis_nats.operations.model.record import JobAttachment
from trellis_nats.operations.model.states import OperationState
from trellis_nats.operations.open_operations import OpenOperation
from trellis_nats.operations.purge import purge_repeatedly
from trellis_nats.operations.record_feed import RecordFeed
from trellis_nats.operations.resumption import Resumption
from trellis_nats.operations.runner import OperationRunner
from trellis_nats.operations.signals import SignalCodecs
from trellis_nats.operations.snapshot import OperationCodecs
from trellis_nats.operations.store import OperationStore, Stored
from trellis_nats.provision.requirements import BucketRequirement
from trellis_nats.runtime import Runtime
from trellis_nats.surface import Surface

__all__ = ["OperationsHost", "host_of"]

_log = logging.getLogger(__name__)

_HISTORY = 5
"""How many revisions of a record are kept, as by other runtimes: a watcher that returns gets the events it missed."""

_PAUSE = 1.0
"""Seconds before another attempt to take a lease."""


def host_of(runtime: Runtime) -> OperationsHost:
    """Return the host of a service, which its first operation creates."""
    for surface in runtime.surfaces:
        if isinstance(surface, OperationsHost):
            return surface
    host = OperationsHost(runtime)
    runtime.register(host)
    return host


class _Kind:
    """The operations of one name that this process runs."""

    def __init__(self, runner: OperationRunner, codecs: OperationCodecs, signals: SignalCodecs) -> None:
        self.runner = runner
        self.codecs = codecs
        self.signals = signals


class OperationsHost(Surface):
    """The operations of one service in this process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._kinds: dict[str, _Kind] = {}
        self.serves: set[str] = set()
        """The names of the operations that have handlers."""
        self._lease: RunnerLease | None = None
        self._resumption: Resumption | None = None
        self._expiry_check: asyncio.Task[None] | None = None
        self._taking_lease: asyncio.Task[None] | None = None
        self._can_purge = False
        self._purge: asyncio.Task[None] | None = None

    # --- what it needs ---------------------------------------------------------------------------------------------

    @override
    def local_binding(self, service: str) -> Binding:
        """Return the name of the bucket."""
        return Binding(operations=OperationsBinding(bucket=_bucket_of(service)))

    @override
    def requirements(self, binding: Binding) -> Iterator[BucketRequirement]:
        """Return the bucket, which control planes leave to the service."""
        yield BucketRequirement(bucket=self._bucket_name(binding), history=_HISTORY, is_own=True)

    @override
    def grants(self, binding: Binding, role: Role) -> Iterator[Grant]:
        """Return what keeping operations needs; the start asks only where there are handlers."""
        if role == "worker":
            at_start = StartCheck.REQUIRED if self.serves else StartCheck.SKIPPED
            yield from store_grants(self._bucket_name(binding), at_start=at_start)
            yield self._purge_grant(binding)
            if self._runtime.has_given_binding:
                yield from create_grants(self._bucket_name(binding))

    def _purge_grant(self, binding: Binding) -> Grant:
        is_asked = self.serves and self._purge_times is not None
        at_start = StartCheck.OPTIONAL if is_asked else StartCheck.SKIPPED
        return purge_grant(self._bucket_name(binding), at_start=at_start)

    @property
    def _purge_times(self) -> tuple[timedelta, timedelta] | None:
        """How long ended operations are kept, and the pause between two purges. None: this process never purges."""
        maintenance = self._runtime.options.maintenance
        kept, every = maintenance.retention.operations, maintenance.purge_every
        return None if kept is None or every is None else (kept, every)

    def _bucket_name(self, binding: Binding) -> str:
        if binding.operations is not None:
            return binding.operations.bucket
        return _bucket_of(self._runtime.own_token)

    # --- what it offers --------------------------------------------------------------------------------------------

    @cached_property
    def store(self) -> OperationStore:
        """The stored operations."""
        runtime = self._runtime
        bucket = KvBucket(
            runtime.connection,
            self._bucket_name(runtime.binding),
            answer=AnswerSize.LARGE,
            timeout=runtime.options.request_timeout,
        )
        return OperationStore(bucket)

    @cached_property
    def feed(self) -> RecordFeed:
        """The changes of the stored operations."""
        return RecordFeed(self.store.bucket, self._on_record)

    @property
    def lease_id(self) -> str:
        """The name under which this process runs operations now."""
        return "" if self._lease is None else self._lease.id

    @property
    def is_leased(self) -> bool:
        """Whether no other process can have taken over what this one runs."""
        return self._lease is not None and self._lease.is_held

    @property
    def purges(self) -> bool:
        """Whether this process is the one that purges ended operations."""
        return (
            self.is_leased and self._resumption is not None and self._resumption.peers.purges(self.lease_id)
        )

    def is_leased_as(self, lease_id: str) -> bool:
        """Whether no other process can have taken over what this one runs under a lease: its newest one."""
        return self.is_leased and self.lease_id == lease_id

    def require_own_loop(self) -> None:
        """Refuse a call that does not run on the event loop of the connection. Raises as `Connection.require_own_loop`."""
        self._runtime.connection.require_own_loop()

    @property
    def is_handling(self) -> bool:
        """Whether a handler of an operation runs in this process, or is about to."""
        return any(kind.runner.is_handling for kind in self._kinds.values())

    def add(self, runner: OperationRunner, codecs: OperationCodecs, signals: SignalCodecs) -> None:
        """Run operations of one more kind."""
        self._kinds[runner.spec.name] = _Kind(runner, codecs, signals)

    def run(self, stored: Stored, upload: Upload | None = None) -> None:
        """Run an operation whose record names this process, unless it runs already."""
        kind = self._kinds[stored.record.snapshot.operation]
        if stored.record.id not in kind.runner:
            kind.runner.run(self._execution(kind, stored, upload))
        elif upload is not None:
            upload.close()

    def _execution(self, kind: _Kind, stored: Stored, upload: Upload | None = None) -> OperationExecution:
        return OperationExecution(
            self._runtime.connection,
            self.store,
            stored,
            spec=kind.runner.spec,
            codecs=kind.codecs,
            signals=kind.signals,
            runner=stored.record.runner or "",
            upload=upload,
        )

    def follow_job(self, job: JobAttachment) -> Awaitable[object]:
        """Return the result of a job of the service; raises as the `result` of its `JobRef`."""
        return self._runtime.wait_job_result(job.queue, job.id)

    # --- life ------------------------------------------------------------------------------------------------------

    @override
    async def start(self) -> None:
        """Follow the operations, and go on with those of processes that ended."""
        if not self.serves:
            return
        timing = LeaseTiming(self._runtime.options.maintenance.lease)
        self._resumption = Resumption(
            self._runtime.connection,
            self.store,
            timing.interval,
            get_lease=lambda: self.lease_id if self.is_leased else None,
            is_wanted=self._is_wanted,
            resume=self._resume,
        )
        is_denied = self._runtime.lacks(self._purge_grant(self._runtime.binding))
        times = self._purge_times
        self._can_purge = times is not None and not is_denied
        await self.feed.start()
        await self._take_lease()
        self._resumption.start()
        if times is not None and self._can_purge:
            purging = self._run_purge(*times, timing.length)
            self._purge = asyncio.create_task(purging, name="purge ended operations")
        self._expiry_check = asyncio.create_task(self._check_expiry(timing.interval), name="operations lease")

    @override
    async def release(self) -> None:
        """End what follows the operations, and give the lease back: handlers have ended."""
        tasks = {each for each in (self._expiry_check, self._taking_lease, self._purge) if each is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._resumption is not None:
            await self._resumption.stop()
        if self._lease is not None:
            await self._lease.stop()
        await self.feed.stop()

    async def _run_purge(self, kept: timedelta, every: timedelta, pause: timedelta) -> None:
        await purge_repeatedly(self.store, kept, every=every, pause=pause, is_due=lambda: self.purges)
        self._can_purge = False  # the account may not: leave it to another process
        if self._lease is not None:
            self._lease.purges = False

    async def _take_lease(self) -> None:
        old = self._lease
        lease = RunnerLease(
            self._runtime.connection,
            self.store.bucket.name,
            LeaseTiming(self._runtime.options.maintenance.lease),
            purges=self._can_purge,
            on_lost=self._on_lease_lost,
        )
        await lease.start()
        self._lease = lease
        if old is not None:
            await old.stop()

    async def _take_lease_again(self) -> None:
        while True:
            try:
                await self._take_lease()
            except TransportError as error:
                _log.warning(
                    "this process has no lease on operations yet: %s",
                    error,
                    extra=log_fields(LogEvent.OPERATION_LEASE_NOT_RENEWED),
                )
                await self._runtime.connection.wait_connected()
                await asyncio.sleep(_PAUSE)
            else:
                return

    def _on_lease_lost(self) -> None:
        """Stop what other processes run now, and take a lease of a new name."""
        _log.warning(
            "the lease of this process on its operations expired, and another process took it: they go on elsewhere",
            extra=log_fields(LogEvent.OPERATION_LEASE_LOST),
        )
        for kind in self._kinds.values():
            kind.runner.interrupt()
        self._taking_lease = asyncio.create_task(self._take_lease_again(), name="take operations lease")

    async def _check_expiry(self, interval: timedelta) -> None:
        """Stop the handlers that another process may run again, before it can."""
        while True:
            await asyncio.sleep(interval.total_seconds() / 2)
            if not self.is_leased:
                for kind in self._kinds.values():
                    if kind.runner.resume == "run-again":
                        kind.runner.interrupt()

    def _is_wanted(self, found: OpenOperation) -> bool:
        kind = self._kinds.get(found.name)
        return kind is not None and not kind.runner.is_full and found.id not in kind.runner

    async def _resume(self, stored: Stored) -> None:
        """Go on with an operation that this process has taken over."""
        kind = self._kinds[stored.record.snapshot.operation]
        if stored.record.id in kind.runner:
            return  # accepted in this moment
        execution = stored.record.execution
        is_attached = execution is not None and execution.job is not None
        has_begun = stored.record.state is OperationState.RUNNING
        if is_attached or not has_begun or kind.runner.resume == "run-again":
            self.run(stored)
        else:
            await kind.runner.fail_interrupted(self._execution(kind, stored))

    def _on_record(self, record: KvRecord, stored: Stored | None) -> None:
        if self._resumption is not None:
            self._resumption.receive(record, stored)
        if stored is not None:
            kind = self._kinds.get(stored.record.snapshot.operation)
            if kind is not None:
                kind.runner.receive(stored)


def _bucket_of(owner: str) -> str:
    return f"trellis_operations_{owner}"
