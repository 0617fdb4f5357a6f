"""What all operations of a service share in one process: their bucket, the feed of its changes, and what runs where."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from functools import cached_property

from typing_extensions import override

from trellis_nats._nats.jetstream.kv import KvBucket, KvRecord
from trellis_nats._nats.read_budget import AnswerSize
from trellis_nats.binding import Binding, OperationsBinding
from trellis_nats.grants import Grant, Role, StartCheck
from trellis_nats.operations.execution import OperationExecution
from trellis_nats.operations.grants import store_grants
from trellis_nats.operations.model.record import JobAttachment
from trellis_nats.operations.record_feed import RecordFeed
from trellis_nats.operations.runner import OperationRunner
from trellis_nats.operations.signals import SignalCodecs
from trellis_nats.operations.snapshot import OperationCodecs
from trellis_nats.operations.store import OperationStore, Stored
from trellis_nats.provision.requirements import BucketRequirement
from trellis_nats.runtime import Runtime
from trellis_nats.surface import Surface

__all__ = ["OperationsHost", "host_of"]

_HISTORY = 5
"""How many revisions of a record are kept, as by other runtimes: a watcher that returns gets the events it missed."""


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

    # --- what it needs ---------------------------------------------------------------------------------------------

    @override
    def local_binding(self, service: str) -> Binding:
        """Return the name of the bucket."""
        return Binding(operations=OperationsBinding(bucket=f"trellis_operations_{service}"))

    @override
    def requirements(self, binding: Binding) -> Iterator[BucketRequirement]:
        """Return the bucket."""
        yield BucketRequirement(bucket=self._bucket_name(binding), history=_HISTORY)

    @override
    def grants(self, binding: Binding, role: Role) -> Iterator[Grant]:
        """Return what keeping operations needs; the start asks only where there are handlers."""
        if role == "worker":
            at_start = StartCheck.REQUIRED if self.serves else StartCheck.SKIPPED
            yield from store_grants(self._bucket_name(binding), at_start=at_start)

    def _bucket_name(self, binding: Binding) -> str:
        if binding.operations is not None:
            return binding.operations.bucket
        return f"trellis_operations_{self._runtime.contract.name}"

    # --- what it offers --------------------------------------------------------------------------------------------

    @cached_property
    def store(self) -> OperationStore:
        """The stored operations."""
        bucket = KvBucket(
            self._runtime.connection, self._bucket_name(self._runtime.binding), answer=AnswerSize.LARGE
        )
        return OperationStore(bucket, self._runtime.options.request_timeout)

    @cached_property
    def feed(self) -> RecordFeed:
        """The changes of the stored operations."""
        return RecordFeed(self.store.bucket, self._on_record)

    @property
    def lease_id(self) -> str:
        """The name under which this process runs operations."""
        return self._runtime.instance_id

    def add(self, runner: OperationRunner, codecs: OperationCodecs, signals: SignalCodecs) -> None:
        """Run operations of one more kind."""
        self._kinds[runner.spec.name] = _Kind(runner, codecs, signals)

    def remove(self, runner: OperationRunner) -> None:
        """Take no more operations of a kind; those that run go on."""
        del runner

    def run(self, stored: Stored) -> None:
        """Run an operation whose record names this process."""
        kind = self._kinds[stored.record.snapshot.operation]
        kind.runner.run(
            OperationExecution(
                self._runtime.connection,
                self.store,
                stored,
                spec=kind.runner.spec,
                codecs=kind.codecs,
                signals=kind.signals,
                runner=self.lease_id,
            )
        )

    def follow_job(self, job: JobAttachment) -> Awaitable[object]:
        """Return the result of a job of the service; raises as the `result` of its `JobRef`."""
        return self._runtime.wait_job_result(job.queue, job.id)

    # --- life ------------------------------------------------------------------------------------------------------

    @override
    async def start(self) -> None:
        """Begin to follow the operations."""
        if self.serves:
            await self.feed.start()

    @override
    async def release(self) -> None:
        """End what follows the operations; handlers have ended."""
        if self.serves:
            await self.feed.stop()

    def _on_record(self, record: KvRecord, stored: Stored | None) -> None:
        del record
        if stored is not None:
            kind = self._kinds.get(stored.record.snapshot.operation)
            if kind is not None:
                kind.runner.receive(stored)
