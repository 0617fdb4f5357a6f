"""Checks of queues: their consumers, their workers and what a contract states about them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from trellis_nats._support.plural import plural
from trellis_nats.jobs.model.subjects import ADVISORIES_STREAM, DELAYED_STREAM, WORK_PREFIX
from trellis_nats.jobs.pause import HOLD_SINCE
from trellis_nats.provision import Creation, Refusal, Update
from trellis_nats.provision.compare import filters_of

from trellis_admin.doctor.facts import Facts, HeartbeatFacts, IndexFacts, QueueFacts
from trellis_admin.doctor.findings import Finding, Severity
from trellis_admin.queries import BLOCKED_AFTER, AttentionKind

__all__ = [
    "check_advisories",
    "check_backoff",
    "check_blocked",
    "check_bodies",
    "check_consumer_filters",
    "check_contracts",
    "check_dead",
    "check_exhausted",
    "check_max_ack_pending",
    "check_max_deliver",
    "check_pauses",
    "check_platform",
    "check_removed_queues",
    "check_stale",
    "check_standing",
    "check_two_ack_waits",
    "check_unknown_consumers",
    "check_unworked",
    "check_version_waits",
    "check_workers",
]

_ROOM: Final = 1_000
_SILENT: Final = timedelta(seconds=75)
"""A worker sends a heartbeat every 30 s: it has missed two."""
_FORGOTTEN: Final = timedelta(days=1)
"""A heartbeat that is older says nothing about today."""
_HELD_WITHIN: Final = timedelta(minutes=1)
"""A queue that is paused is held at once."""
_LONG_PAUSE: Final = timedelta(days=1)
_DIED_MANY: Final = 10
_STEPS_SHOWN: Final = 3


def check_backoff(facts: Facts) -> Iterator[Finding]:
    """A consumer delays retries itself, which replaces its ack wait."""
    for queue in facts.queues:
        if queue.work.backoff and not queue.is_of_platform:
            steps = ", ".join(f"{step.total_seconds():g} s" for step in queue.work.backoff[:_STEPS_SHOWN])
            yield Finding(
                check="consumer-backoff",
                severity=Severity.FAULT,
                subject=queue.name,
                text=f"the consumer has a backoff ({steps}), which replaces the ack wait: a job that runs longer is delivered to a "
                "second worker. Another runtime or a person created it",
                remedy="stop the workers of the queue, delete the consumer with "
                f"`nats consumer rm {queue.work_stream} {queue.consumer}`, and run `trellis provision apply PACKAGE`",
            )


def check_max_deliver(facts: Facts) -> Iterator[Finding]:
    """A consumer stops delivering a job after some deliveries."""
    for queue in facts.queues:
        if queue.work.max_deliver > 0 and not queue.is_of_platform:
            yield Finding(
                check="consumer-max-deliver",
                severity=Severity.FAULT,
                subject=queue.name,
                text=f"the consumer has max_deliver {queue.work.max_deliver}: after so many deliveries the server delivers a job no "
                "more, and it never ends. Here the worker counts attempts",
                remedy=f"run `nats consumer edit {queue.work_stream} {queue.consumer} --max-deliver=-1`",
            )


def check_platform(facts: Facts) -> Iterator[Finding]:
    """A control plane made the consumer, from its binding."""
    for queue in facts.queues:
        if queue.is_of_platform:
            wait = queue.work.backoff[0] if queue.work.backoff else queue.work.ack_wait
            yield Finding(
                check="control-plane",
                severity=Severity.HINT,
                subject=queue.name,
                text=f"a control plane made consumer {queue.consumer}: its ack wait is {_seconds(wait)}, and it has max_deliver "
                f"{queue.work.max_deliver} and max_ack_pending {queue.work.max_ack_pending}",
                remedy="change the contract, and let the control plane apply it; do not edit the consumer",
            )


def check_consumer_filters(facts: Facts) -> Iterator[Finding]:
    """A consumer takes other messages than those of its queue, or does not wait for acknowledgements."""
    for queue in facts.queues:
        wanted = f"{WORK_PREFIX}.{queue.service}.{queue.queue}"
        filters = filters_of(queue.work.config)
        problems: list[str] = []
        if filters != [wanted]:
            problems.append(f"filters {', '.join(filters) or 'nothing'}, not {wanted}")
        policy = queue.work.config.get("ack_policy")
        if policy != "explicit":
            problems.append(f"has the ack policy {policy}, not explicit")
        if problems:
            yield Finding(
                check="consumer-differs",
                severity=Severity.FAULT,
                subject=queue.name,
                text=f"the consumer {' and '.join(problems)}",
                remedy=f"delete it with `nats consumer rm {queue.work_stream} {queue.consumer}`, and start a worker of the queue: "
                "jobs that have not ended stay in the stream",
            )


def check_bodies(facts: Facts) -> Iterator[Finding]:
    """A consumer leaves out the bodies of messages."""
    for queue in facts.queues:
        for stream, info in ((queue.work_stream, queue.work), (DELAYED_STREAM, queue.due)):
            if info is not None and info.config.get("headers_only") is True:
                yield Finding(
                    check="consumer-without-bodies",
                    severity=Severity.FAULT,
                    subject=queue.name,
                    text=f"headers_only is set on consumer {queue.consumer} of stream {stream}: jobs arrive without their payloads, and "
                    "workers do not pull them",
                    remedy=f"run `nats consumer edit {stream} {queue.consumer} --no-headers-only`; the workers then go on",
                )


def check_two_ack_waits(facts: Facts) -> Iterator[Finding]:
    """The two consumers of a queue have different ack waits: one of them was changed."""
    for queue in facts.queues:
        due = queue.due
        if due is not None and due.ack_wait != queue.work.ack_wait and not queue.work.backoff:
            yield Finding(
                check="ack-wait-drifted",
                severity=Severity.WARNING,
                subject=queue.name,
                text=f"its two consumers have different ack waits: {_seconds(queue.work.ack_wait)} in {queue.work_stream} and "
                f"{_seconds(due.ack_wait)} in JOBS_DELAYED",
                remedy="run `trellis provision apply PACKAGE`, which sets both as the contract states",
            )


def _seconds(length: timedelta | None) -> str:
    return "none" if length is None else f"{length.total_seconds():g} s"


def check_max_ack_pending(facts: Facts) -> Iterator[Finding]:
    """A consumer delivers few messages at a time, and jobs that wait count among them."""
    for queue in facts.queues:
        if 0 < queue.work.max_ack_pending < _ROOM and not queue.is_of_platform:
            yield Finding(
                check="max-ack-pending-low",
                severity=Severity.WARNING,
                subject=queue.name,
                text=f"max_ack_pending is {queue.work.max_ack_pending}: while as many jobs run, or wait without being parked, no "
                "other is delivered",
                remedy=f"unless that is intended, run `nats consumer edit {queue.work_stream} {queue.consumer} --max-pending 100000`",
            )


def check_exhausted(facts: Facts) -> Iterator[Finding]:
    """A consumer delivers nothing more, because too many deliveries are not acknowledged."""
    for queue in facts.queues:
        if queue.work.is_exhausted:
            yield Finding(
                check="consumer-exhausted",
                severity=Severity.FAULT,
                subject=queue.name,
                text=f"{plural(queue.work.ack_pending, 'delivery is', 'deliveries are')} not acknowledged, as many as max_ack_pending allows: "
                f"{plural(queue.work.pending, 'job')} behind them {'is' if queue.work.pending == 1 else 'are'} not delivered",
                remedy=f"raise it with `nats consumer edit {queue.work_stream} {queue.consumer} --max-pending 100000`: it applies "
                "at once",
            )


def check_unknown_consumers(facts: Facts) -> Iterator[Finding]:
    """A consumer of the work stream belongs to no queue, and takes jobs away from one."""
    for stream, consumer in facts.unknown_consumers:
        yield Finding(
            check="consumer-unknown",
            severity=Severity.WARNING,
            subject=f"{stream}/{consumer}",
            text=f'consumer "{consumer}" of stream "{stream}" belongs to no queue: what it takes no worker runs',
            remedy=f"if no program needs it, run `nats consumer rm {stream} {consumer}`",
        )


def check_pauses(facts: Facts) -> Iterator[Finding]:
    """The pause of a consumer and the record that workers obey disagree, or a queue is paused for long."""
    for queue in facts.queues:
        is_held = queue.work.is_paused
        if is_held and queue.pause is None:
            yield Finding(
                check="pause-without-record",
                severity=Severity.FAULT,
                subject=queue.name,
                text="its consumer is paused on the server, and no record says who paused the queue and why: no job is delivered, "
                "and no view shows a pause",
                remedy=f"run `trellis queues resume {queue.name}`, or `trellis queues pause {queue.name} --reason …` to keep it paused",
            )
        if queue.pause is None:
            continue
        length = facts.at - queue.pause.since
        if not is_held and facts.server.version >= HOLD_SINCE and length > _HELD_WITHIN:
            yield Finding(
                check="pause-not-held",
                severity=Severity.WARNING,
                subject=queue.name,
                text=f"{queue.pause.by} paused the queue, but the server does not hold its consumer: workers of other runtimes, which "
                "do not read the record, go on",
                remedy=f"run `trellis queues pause {queue.name}` again, which holds it for an hour; a worker of this runtime extends that",
            )
        if length > _LONG_PAUSE:
            days = length / timedelta(days=1)
            yield Finding(
                check="pause-long",
                severity=Severity.WARNING,
                subject=queue.name,
                text=f"{queue.pause.by} paused the queue {days:.0f} days ago",
                remedy=f"run `trellis queues resume {queue.name}` if the reason is gone",
            )


def check_unworked(facts: Facts) -> Iterator[Finding]:
    """Jobs wait in a queue from which no worker pulls."""
    for queue in facts.queues:
        work = queue.work
        is_alive = any(_is_fresh(facts, beat) for beat in facts.heartbeats if _is_of(beat, queue))
        jobs = work.pending + work.ack_pending
        if jobs and not work.waiting and not is_alive and queue.pause is None:
            fetched = (
                f"; a worker that is gone had fetched {work.ack_pending:,} of them"
                if work.ack_pending
                else ""
            )
            yield Finding(
                check="queue-without-workers",
                severity=Severity.WARNING,
                subject=queue.name,
                text=f"{plural(jobs, 'job waits', 'jobs wait')}, and no worker pulls from the queue{fetched}",
                remedy="start a worker of the service; if the queue was removed from the contract, see `trellis doctor PACKAGE`",
            )


def _is_of(beat: HeartbeatFacts, queue: QueueFacts) -> bool:
    return (beat.service, beat.queue) == (queue.service, queue.queue)


def _is_fresh(facts: Facts, beat: HeartbeatFacts) -> bool:
    return facts.at - beat.at <= _SILENT


def check_version_waits(facts: Facts) -> Iterator[Finding]:
    """Jobs are due, a worker is free, and it cannot read them: another version of the contract wrote them."""
    for wait in () if facts.index is None else facts.index.version_waits:
        yield Finding(
            check="waiting-for-version",
            severity=Severity.WARNING,
            subject=f"{wait.service}/{wait.queue}",
            text=f"{plural(wait.jobs, 'job is', 'jobs are')} due, the oldest for {(facts.at - wait.since) / timedelta(minutes=1):.0f} min, and no worker begins them, although one is free: "
            f"contract version {wait.digest} wrote them, and the workers have {', '.join(wait.live)}",
            remedy=f"run a process of that version, or one with an upcaster; else they fail when `version_patience` ends, by default after an hour "
            f"(docs/guides/changing-a-contract.md). `trellis jobs list queue:{wait.service}/{wait.queue} contract:{wait.digest[:12]} state:pending,retry` lists them",
        )


def check_standing(facts: Facts) -> Iterator[Finding]:
    """Jobs wait, and none begins: every slot is taken for long, or slots are free."""
    index = IndexFacts() if facts.index is None else facts.index
    explained = {(wait.service, wait.queue) for wait in index.version_waits}
    for item in index.attention:
        is_standing = item.kind in {AttentionKind.NO_SLOT, AttentionKind.STUCK}
        if not is_standing or item.since is None or (item.service, item.queue) in explained:
            continue
        waits = plural(item.number, "job waits", "jobs wait")
        length = f"{(facts.at - item.since) / timedelta(minutes=1):.0f} min"
        name = f"{item.service}/{item.queue}"
        if item.kind is AttentionKind.NO_SLOT:
            yield Finding(
                check="slots-taken",
                severity=Severity.WARNING,
                subject=name,
                text=f"{waits}, and none has begun for {length}: every slot is taken by a job that runs",
                remedy=f"`trellis jobs list queue:{name} state:active` lists them, and `trellis jobs stack ID` shows what one does; "
                "`trellis jobs cancel ID` ends one that looks at `job.is_cancelled`; another keeps its slot until its process is restarted. "
                "If all is well, start more workers",
            )
        else:
            yield Finding(
                check="queue-stands-still",
                severity=Severity.WARNING,
                subject=name,
                text=f"{waits}, the oldest for {length}, and no worker begins it, although slots are free",
                remedy="look at the log and at /readyz of the workers of the queue; `trellis workers` lists them",
            )


def check_workers(facts: Facts) -> Iterator[Finding]:
    """A worker stopped sending heartbeats without having said that it stops."""
    silent: dict[str, list[HeartbeatFacts]] = {}
    for beat in facts.heartbeats:
        if not beat.is_stopping and _SILENT < facts.at - beat.at < _FORGOTTEN:
            silent.setdefault(beat.service, []).append(beat)
    for service, beats in sorted(silent.items()):
        instances = sorted({beat.instance for beat in beats})
        newest = min((facts.at - beat.at).total_seconds() for beat in beats)
        yield Finding(
            check="heartbeats-silent",
            severity=Severity.WARNING,
            subject=service,
            text=f"{plural(len(instances), 'process', 'processes')} of {service} {'is' if len(instances) == 1 else 'are'} silent, the last one for {newest:.0f} s: {', '.join(instances[:3])}"
            f"{' …' if len(instances) > _STEPS_SHOWN else ''}. They were killed, lost the network, or are frozen",
            remedy="`trellis workers` lists them; their jobs run again within twice the ack wait where another worker is alive, unless another "
            "job of the same key was first under `stalePolicy: fail-stale`: `trellis jobs list state:stale` lists those that never run",
        )


def check_blocked(facts: Facts) -> Iterator[Finding]:
    """The event loop of a worker that sends heartbeats is blocked."""
    longest: dict[tuple[str, str], timedelta] = {}
    for beat in facts.heartbeats:
        if beat.loop_lag >= BLOCKED_AFTER and facts.at - beat.at <= _SILENT:
            of = beat.service, beat.instance
            longest[of] = max(beat.loop_lag, longest.get(of, beat.loop_lag))
    for (service, instance), lag in sorted(longest.items()):
        yield Finding(
            check="event-loop-blocked",
            severity=Severity.WARNING,
            subject=service,
            text=f"the event loop of {instance} was blocked for {lag.total_seconds():.0f} s: none of its jobs went on meanwhile",
            remedy=f"`trellis jobs list worker:{instance} state:active` lists its jobs, and `trellis jobs stack ID` shows the line that "
            "blocks: run it in a thread (`asyncio.to_thread`). If it does not end, restart the process",
        )


def check_dead(facts: Facts) -> Iterator[Finding]:
    """Jobs die in numbers."""
    if facts.died_lately >= _DIED_MANY:
        yield Finding(
            check="dead-growing",
            severity=Severity.WARNING,
            subject="jobs",
            text=f"{plural(facts.died_lately, 'death')} of jobs within the last hour",
            remedy="`trellis dead groups` shows their errors; fix the cause, then `trellis dead replay`",
        )
    elif facts.died:
        yield Finding(
            check="dead-jobs",
            severity=Severity.HINT,
            subject="jobs",
            text=f"{plural(facts.died, 'job')} died in the time that the stream remembers",
            remedy="`trellis dead groups` shows those that are still dead",
        )


def check_stale(facts: Facts) -> Iterator[Finding]:
    """Jobs lost their key to other ones, and never run."""
    if facts.index is not None and facts.index.stale_lately:
        yield Finding(
            check="stale-jobs",
            severity=Severity.WARNING,
            subject="jobs",
            text=f"{plural(facts.index.stale_lately, 'job')} ended as stale within the last day: the worker died, another job of the key took the slot, and "
            "nothing has created them again",
            remedy="`trellis jobs list state:stale since:-1d` lists them. Where the work is still wanted, create a new job with the payload of "
            "`trellis jobs show ID --payload`: `trellis jobs recreate ID --contract PACKAGE` does. Where each job must run, declare "
            '`"stalePolicy": "block"`',
        )


def check_advisories(facts: Facts) -> Iterator[Finding]:
    """The server stopped delivering jobs, because a consumer of another runtime limits deliveries."""
    if facts.undelivered:
        yield Finding(
            check="deliveries-exhausted",
            severity=Severity.WARNING,
            subject=ADVISORIES_STREAM,
            text=f"the server reported {plural(facts.undelivered, 'delivery', 'deliveries')} that reached a consumer's max_deliver in the last 7 days: "
            "it delivers these jobs no more",
            remedy="`trellis admin serve` marks them as dead, so that they can be replayed; remove max_deliver from the consumer",
        )


def check_removed_queues(facts: Facts) -> Iterator[Finding]:
    """A queue that the contract does not have holds jobs."""
    for contract in facts.contracts:
        for queue in contract.removed:
            yield Finding(
                check="queue-removed",
                severity=Severity.WARNING,
                subject=queue.name,
                text=f"the queue is not in {contract.contract.id} and holds {queue.waiting:,} waiting jobs, which no worker of this "
                "version takes",
                remedy=queue.remedy,
            )


def check_contracts(facts: Facts) -> Iterator[Finding]:
    """The server has not what a contract states."""
    for contract in facts.contracts:
        apply = "run `trellis provision apply PACKAGE`"
        for change in contract.changes:
            match change:
                case Creation():
                    yield Finding(
                        check="resource-missing",
                        severity=Severity.WARNING if change.requirement.is_optional else Severity.FAULT,
                        subject=change.title,
                        text=f"{contract.contract.id} needs {change.title}, which does not exist",
                        remedy=apply,
                    )
                case Refusal():
                    yield Finding(
                        check="resource-unusable",
                        severity=Severity.FAULT,
                        subject=change.title,
                        text="; ".join(change.problems),
                        remedy="a service does not start with it: delete it when it is empty, then " + apply,
                    )
                case Update(settings=settings) if settings:
                    listed = ", ".join(
                        f"{setting.name} {setting.have}, not {setting.want}" for setting in settings
                    )
                    has_ack_wait = any(setting.name == "ack_wait" for setting in settings)
                    yield Finding(
                        check="ack-wait-drifted" if has_ack_wait else "settings-drifted",
                        severity=Severity.HINT if change.relation == "older" else Severity.WARNING,
                        subject=change.title,
                        text=f"it is not as {contract.contract.id} states: {listed}",
                        remedy="a newer version of the contract set it"
                        if change.relation == "older"
                        else apply,
                    )
                case Update():
                    pass
