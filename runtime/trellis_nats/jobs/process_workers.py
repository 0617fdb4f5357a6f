"""The workers of all queues of one process, from their start to their end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.loop_lag import LoopLag
from trellis_nats._support.plural import plural
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.grants import Grant
from trellis_nats.jobs.delay.parking import Parking
from trellis_nats.jobs.delay.server_clock import ServerClock
from trellis_nats.jobs.grants import parking_grants, pause_grants, stack_grants
from trellis_nats.jobs.keys.acquire import SlotAcquirer
from trellis_nats.jobs.keys.queue_keys import QueueKeys
from trellis_nats.jobs.maintenance.stream_edits import StreamEdits
from trellis_nats.jobs.maintenance.worker_heartbeat import WorkedQueue, WorkerHeartbeats, WorkerProcess
from trellis_nats.jobs.maintenance.write_health import WriteHealth
from trellis_nats.jobs.model.job_streams import job_requirements
from trellis_nats.jobs.model.subjects import ADVISORIES_STREAM, stack_subject
from trellis_nats.jobs.pause.intake import Intake
from trellis_nats.jobs.questions import answer_questions
from trellis_nats.jobs.queue_setup import QueueSetup
from trellis_nats.jobs.stacks.answers import RunningAttempt, StackAnswers
from trellis_nats.jobs.store.liveness import Liveness
from trellis_nats.jobs.work.attempt_counts import AttemptCounts, WorkerCounts
from trellis_nats.jobs.work.clock_skew import ClockSkew
from trellis_nats.jobs.work.executor import Executor
from trellis_nats.jobs.work.handler import HandlerRegistration
from trellis_nats.jobs.work.other_version import VersionPatience
from trellis_nats.jobs.work.shutdown import Shutdown
from trellis_nats.jobs.work.worker import Worker
from trellis_nats.metrics.families import (
    HEARTBEAT_LATE,
    JOB_SLOTS,
    JOBS_POSTPONED,
    JOBS_RUNNING,
    KEY_WAITING,
    LOOP_LAG,
)
from trellis_nats.provision import StreamRequirement, plan
from trellis_nats.runtime import Runtime

__all__ = ["HandledQueue", "ProcessWorkers"]

_log = logging.getLogger(__name__)


class HandledQueue(NamedTuple):
    """A queue that has a handler."""

    setup: QueueSetup[Any, Any, Any]  # Any: nothing here looks at payloads, results or updates
    registration: HandlerRegistration[Any, Any, Any]

    @property
    def concurrency(self) -> int:
        """How many handlers may run at a time in this process."""
        return self.registration.concurrency or self.setup.binding.concurrency


class ProcessWorkers:
    """What the workers of one process share, and the workers."""

    def __init__(
        self, runtime: Runtime, jobs: JobsBinding, handled: Sequence[HandledQueue], liveness: Liveness
    ) -> None:
        """Prepare; nothing runs before `start`."""
        self._runtime = runtime
        self._jobs = jobs
        self._handled = handled
        self._liveness = liveness
        self._shutdown = Shutdown()
        self._thread = ProgressThread(
            runtime.connection.settings, on_late=runtime.metrics.histogram(HEARTBEAT_LATE).observe
        )
        self._process = WorkerProcess(runtime.contract, LoopLag(runtime.metrics.histogram(LOOP_LAG).observe))
        self._queues = [self._worked_queue(queue) for queue in handled]
        self._heartbeats = WorkerHeartbeats(
            runtime.connection,
            self._thread,
            self._queues,
            every=runtime.options.maintenance.heartbeat_every,
        )
        self._workers: list[Worker] = []
        self._stopped: list[Worker] = []

    async def start(self) -> None:
        """Start the heartbeat thread, then one worker after the other.

        Raises:
            ProvisioningError: a queue's consumer does not exist.
            TransportError: NATS did not answer. What has started until then still runs.
        """
        runtime, jobs = self._runtime, self._jobs
        bindings = [queue.setup.binding for queue in self._handled]
        answer_questions(runtime, jobs, bindings, self._liveness, self._thread)
        write_health = self._write_health()
        built = [
            self._build_worker(queue, worked.intake, write_health)
            for queue, worked in zip(self._handled, self._queues, strict=True)
        ]
        await self._thread.start()
        self._process.loop_lag.start()
        for queue, worker in zip(self._handled, built, strict=True):
            self._workers.append(worker)  # to be stopped too if its start fails
            await worker.start(
                runtime.contract,
                may_create=runtime.may_create,
                may_park=self._has_all(parking_grants(queue.setup.binding)),
                may_pause=self._has_all(pause_grants(jobs, queue.setup.binding)),
            )
        clock_skew = ClockSkew(jobs.work_stream, bindings[0].consumer_name)
        await clock_skew.watch(runtime.connection, self._thread)
        self._heartbeats.start()

    async def stop(self, grace: GracePeriod) -> None:
        """Stop every worker, all at the same time. Handlers that cannot be stopped keep their jobs until `release`."""
        self._process.note_stopping(grace.length)
        self._heartbeats.publish()
        self._log_stop(grace.length)
        workers, self._workers = self._workers, []
        await asyncio.gather(*(worker.stop(grace) for worker in workers))
        self._stopped += workers

    async def release(self) -> None:
        """Give back the jobs of the handlers that still run, and end the heartbeats."""
        stopped, self._stopped = self._stopped, []
        await asyncio.gather(*(worker.release() for worker in stopped))
        self._process.note_stopped()
        self._heartbeats.stop()
        self._process.loop_lag.stop()
        await self._thread.stop()
        fields = log_fields(LogEvent.WORKERS_STOPPED)
        _log.info("the workers stopped: %s", self._shutdown.summary(), extra=fields)

    def _log_stop(self, grace: timedelta) -> None:
        running = round(sum(queue.running.value for queue in self._queues))
        if running and grace:
            _log.info(
                "the workers stop, and wait up to %g s for %s; in run(), a second signal ends the wait",
                grace.total_seconds(),
                plural(running, "running job"),
                extra=log_fields(LogEvent.WORKERS_STOPPING),
            )

    def _has_all(self, grants: Iterable[Grant]) -> bool:
        return not any(map(self._runtime.lacks, grants))

    def _worked_queue(self, queue: HandledQueue) -> WorkedQueue:
        name, metrics = queue.setup.binding.queue_type, self._runtime.metrics
        metrics.number(JOB_SLOTS, name).value = queue.concurrency
        return WorkedQueue(
            namespace=self._jobs.namespace,
            service=self._jobs.service,
            queue=name,
            instance_id=self._runtime.instance_id,
            concurrency=queue.concurrency,
            process=self._process,
            intake=Intake(self._shutdown.stopping),
            running=metrics.number(JOBS_RUNNING, name),
        )

    def _write_health(self) -> WriteHealth:
        runtime, contexts = self._runtime, [queue.setup.context for queue in self._handled]
        keyed = [context.keys for context in contexts if context.keys is not None]
        return WriteHealth(
            runtime.connection,
            self._queues[0],
            contexts[0].event_log.subjects,
            fates=[
                *(context.event_log.writes for context in contexts),
                *(keys.stores.main.writes for keys in keyed),
            ],
            edits=StreamEdits(runtime.connection, self._needed_streams() if runtime.may_look_up else ()),
            keys_bucket=self._jobs.keys_bucket if keyed else None,
        )

    def _needed_streams(self) -> Iterator[StreamRequirement]:
        for stream in plan(job_requirements(self._jobs)).streams:
            if not stream.is_optional and stream.name != ADVISORIES_STREAM:
                yield stream

    def _build_worker(self, queue: HandledQueue, intake: Intake, write_health: WriteHealth) -> Worker:
        runtime, context = self._runtime, queue.setup.context
        context.reader.nested_waits.concurrency = queue.concurrency
        parking = Parking(
            runtime.connection,
            context.subjects,
            ServerClock(),
            queue=context.queue,
            timeout=runtime.options.request_timeout,
            clock=context.clock,
            stopping=self._shutdown.stopping,
        )
        executor = Executor(
            context,
            queue.registration,
            liveness=self._liveness,
            slots=None if context.keys is None else self._build_acquirer(context.keys, intake),
            parking=parking,
            jitter=runtime.options.jitter,
            versions=VersionPatience(
                runtime.contract.digest,
                runtime.options.version_patience,
                queue=context.queue,
                postponed=runtime.metrics.number(JOBS_POSTPONED, context.queue),
            ),
            counts=AttemptCounts(context.queue, runtime.metrics),
            shutdown=self._shutdown,
            intake=intake,
        )
        self._answer_stacks(context.binding, executor.attempts)
        return Worker(
            runtime.connection,
            context.binding,
            executor,
            self._thread,
            runtime.health,
            parking,
            find_write_problem=write_health.find_problem,
            concurrency=queue.concurrency,
            jobs=self._jobs,
            shutdown=self._shutdown,
            intake=intake,
            counts=WorkerCounts(context.queue, runtime.metrics),
            on_pause_change=self._heartbeats.publish,
        )

    def _answer_stacks(self, queue: QueueBinding, attempts: Mapping[str, RunningAttempt]) -> None:
        grants = tuple(stack_grants(self._jobs, queue))
        if grants and self._has_all(grants):
            subject = stack_subject(self._jobs.namespace, queue.queue_type)
            answers = StackAnswers(attempts, self._runtime.instance_id, self._process.loop_lag)
            self._thread.answer(subject, answers.answer)

    def _build_acquirer(self, keys: QueueKeys, intake: Intake) -> SlotAcquirer:
        return SlotAcquirer(
            self._runtime.connection,
            keys.stores,
            keys.reservations,
            keys.event_log,
            self._liveness,
            self._thread,
            intake=intake,
            clock=self._runtime.clock,
            waiting=self._runtime.metrics.number(KEY_WAITING, keys.stores.main.queue),
        )
