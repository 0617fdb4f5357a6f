"""Checks of the streams and buckets that services share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from trellis_nats._nats.jetstream.kv import kv_stream
from trellis_nats.binding import JobsBinding, keys_bucket_of
from trellis_nats.jobs.model.job_streams import job_requirements
from trellis_nats.jobs.model.subjects import ADVISORIES_STREAM, DELAYED_STREAM, STREAM, WORK_STREAM
from trellis_nats.provision.compare import stream_differences, stream_remarks
from trellis_nats.provision.plan import BATCHES_SINCE
from trellis_nats.provision.requirements import StreamRequirement

from trellis_admin.doctor.facts import Facts, StreamFacts
from trellis_admin.doctor.findings import Finding, Severity

__all__ = [
    "check_atomic_batches",
    "check_buckets",
    "check_direct_reads",
    "check_full_streams",
    "check_keys_ttl",
    "check_leaders",
    "check_limits",
    "check_max_age",
    "check_message_size",
    "check_missing_streams",
    "check_renamed_subjects",
    "check_replicas",
    "check_retention",
    "check_schedules",
    "check_sources",
    "check_stalled_source",
]

_NO_SERVICE: Final = JobsBinding(namespace="-", work_stream=WORK_STREAM, queues={})
_REQUIRED: Final = {
    requirement.name: requirement
    for requirement in job_requirements(_NO_SERVICE)
    if isinstance(requirement, StreamRequirement)
}
_AGE_MIN: Final = timedelta(days=7)
"""How long a job may wait, for a delay or for workers, before an age limit of JOBS forgets it."""
_FULL: Final = 0.8
_CLUSTER: Final = 3
_RENAMED: Final = {
    STREAM: (
        ": jobs that are created meanwhile are acknowledged and never run",
        f". Then create the jobs of that time again: {STREAM} holds them under the other subjects",
    ),
    WORK_STREAM: (
        ": jobs that are created meanwhile are acknowledged and do not run",
        ". Do not create the jobs of that time again: the leader enqueues them within minutes",
    ),
}
"""What a `subject_transform` does to jobs, and what is to be done about them."""


def _existing(facts: Facts) -> Iterator[tuple[StreamRequirement, StreamFacts]]:
    for name, requirement in _REQUIRED.items():
        stream = facts.streams.get(name)
        if stream is not None and facts.server.version >= requirement.since:
            yield requirement, stream


def check_missing_streams(facts: Facts) -> Iterator[Finding]:
    """A stream that jobs need does not exist."""
    if not facts.server.has_jetstream or facts.unreadable:
        return
    missing = [
        name
        for name, requirement in _REQUIRED.items()
        if name not in facts.streams and facts.server.version >= requirement.since
    ]
    if len(missing) == len(_REQUIRED) or not facts.streams:
        yield Finding(
            check="no-jobs",
            severity=Severity.HINT,
            subject="server",
            text="no service has created its streams in this account yet",
            remedy="start a service, or run `trellis provision apply PACKAGE`",
        )
        return
    for name in missing:
        is_optional = name in {DELAYED_STREAM, ADVISORIES_STREAM}
        effect = {
            STREAM: "no job can be created",
            WORK_STREAM: "no job is delivered to a worker",
            DELAYED_STREAM: "jobs that wait for long hold deliveries, and a queue stalls while 100,000 wait",
        }.get(name, "what the server reports about deliveries is lost")
        yield Finding(
            check="stream-missing",
            severity=Severity.WARNING if is_optional else Severity.FAULT,
            subject=name,
            text=f'stream "{name}" does not exist: {effect}',
            remedy="run `trellis provision apply PACKAGE`, or start a service whose account may create it",
        )


def _by_settings(facts: Facts, check: str, names: tuple[str, ...], remedy: str) -> Iterator[Finding]:
    """Yield the differences that stop a service from starting, for some settings of the streams."""
    for requirement, stream in _existing(facts):
        for text in stream_differences(requirement, stream.config):
            if any(f"differs: {name} is" in text for name in names):
                yield Finding(
                    check=check, severity=Severity.FAULT, subject=requirement.name, text=text, remedy=remedy
                )


def check_retention(facts: Facts) -> Iterator[Finding]:
    """A stream keeps, stores or takes something else than it must."""
    remedy = (
        "a server cannot change retention or storage of a stream with messages: let it run empty, back it up, delete it, and "
        "run `trellis provision apply PACKAGE`; subjects can be changed with `nats stream edit`"
    )
    yield from _by_settings(
        facts,
        "stream-differs",
        ("retention", "storage", "subjects", "discard", "no_ack", "allow_msg_schedules"),
        remedy,
    )
    sealed = (
        "a server cannot take a seal off. JOBS_WORK: stop the workers, delete it, and start a service; the leader enqueues the "
        "jobs that have not ended. JOBS is the only record of jobs: back it up before you delete it"
    )
    yield from _by_settings(facts, "stream-differs", ("sealed",), sealed)


def check_direct_reads(facts: Facts) -> Iterator[Finding]:
    """A stream or the bucket of a service does not answer direct reads, which every worker sends."""
    yield from _by_settings(
        facts, "direct-reads-off", ("allow_direct",), "run `nats stream edit <stream> --allow-direct`"
    )
    for name, stream in facts.streams.items():
        if name.startswith(kv_stream("JOBS_KEYS_")) and not stream.flag("allow_direct"):
            yield Finding(
                check="direct-reads-off",
                severity=Severity.FAULT,
                subject=name.removeprefix("KV_"),
                text="the bucket does not allow direct reads: keyed jobs do not run, and pauses are not noticed",
                remedy=f"run `nats stream edit {name} --allow-direct`",
            )


def check_renamed_subjects(facts: Facts) -> Iterator[Finding]:
    """A stream stores what is published under other subjects, where no worker and no reader looks."""
    for requirement, stream in _existing(facts):
        for text in stream_differences(requirement, stream.config):
            if "subject_transform stores" in text:
                name = requirement.name
                yield Finding(
                    check="subjects-renamed",
                    severity=Severity.FAULT,
                    subject=name,
                    text=text + _RENAMED.get(name, ("", ""))[0],
                    remedy=f"take subject_transform out of the configuration: `nats stream info {name} --json`, edit its `config`, and "
                    f"`nats stream edit {name} --config FILE`" + _RENAMED.get(name, ("", ""))[1],
                )


def check_sources(facts: Facts) -> Iterator[Finding]:
    """The work stream does not take its messages from JOBS as it must."""
    for requirement, stream in _existing(facts):
        for text in stream_differences(requirement, stream.config):
            if "it has no source" in text:
                yield Finding(
                    check="sources-changed",
                    severity=Severity.FAULT,
                    subject=requirement.name,
                    text=f"{text}: such jobs are never delivered",
                    remedy="never edit the sources of a live JOBS_WORK (it delivers every job again): stop the workers, delete "
                    "JOBS_WORK, and start a service; the leader enqueues the jobs that have not ended",
                )


def check_stalled_source(facts: Facts) -> Iterator[Finding]:
    """The work stream is behind its source and does not catch up."""
    for name, stream in facts.streams.items():
        if stream.is_source_stalled or stream.source_error:
            why = f" ({stream.source_error})" if stream.source_error else ""
            yield Finding(
                check="source-stalled",
                severity=Severity.FAULT,
                subject=name,
                text=f'stream "{name}" is behind {STREAM}{why} and takes nothing: new jobs are not delivered',
                remedy="first remove the cause (limits of the stream, a full disk, a message larger than max_msg_size), then run "
                f"`nats stream cluster step-down {name}`, or restart a single server; never change the sources",
            )


def check_atomic_batches(facts: Facts) -> Iterator[Finding]:
    """The server has atomic batches, and stream JOBS does not allow them."""
    jobs = facts.jobs
    if jobs is not None and facts.server.version >= BATCHES_SINCE and not jobs.flag("allow_atomic"):
        yield Finding(
            check="atomic-batches-off",
            severity=Severity.WARNING,
            subject=STREAM,
            text=f'stream "{STREAM}" does not allow atomic batches: create_many is not all-or-nothing',
            remedy=f"run `nats stream edit {STREAM} --allow-batch`, or start a service whose account may update the stream",
        )


def check_schedules(facts: Facts) -> Iterator[Finding]:
    """Stream JOBS allows schedules, which can stop the work stream."""
    jobs = facts.jobs
    if jobs is not None and jobs.flag("allow_msg_schedules"):
        yield Finding(
            check="schedules-on-jobs",
            severity=Severity.FAULT,
            subject=STREAM,
            text=f'stream "{STREAM}" allows schedules: on nats-server 2.12 the first one that fires stops JOBS_WORK',
            remedy="upgrade to nats-server 2.14 or newer; the setting cannot be switched off again",
        )


def check_limits(facts: Facts) -> Iterator[Finding]:
    """A stream drops or refuses messages when it is full."""
    for requirement, stream in _existing(facts):
        for text in stream_remarks(requirement, stream.config):
            drops = stream.config.get("discard") != "new"
            yield Finding(
                check="stream-drops" if drops else "stream-limited",
                severity=Severity.FAULT if drops else Severity.WARNING,
                subject=requirement.name,
                text=text,
                remedy=f"run `nats stream edit {requirement.name} --max-msgs=-1 --max-bytes=-1 --max-msgs-per-subject=-1`, or "
                "with a limit of bytes also `--discard=new`",
            )


def check_full_streams(facts: Facts) -> Iterator[Finding]:
    """A stream with a limit is nearly full."""
    for name, stream in facts.streams.items():
        for setting, used in (("max_bytes", stream.size), ("max_msgs", stream.messages)):
            limit = stream.number(setting)
            if limit and used >= _FULL * limit:
                yield Finding(
                    check="stream-nearly-full",
                    severity=Severity.FAULT if used >= limit else Severity.WARNING,
                    subject=name,
                    text=f'stream "{name}" uses {used / limit:.0%} of its {setting} of {limit:,}',
                    remedy=f"raise {setting} with `nats stream edit {name}`, or keep ended jobs for less time (Options.retention)",
                )


def _age(stream: StreamFacts) -> timedelta:
    return timedelta(microseconds=stream.number("max_age") / 1000)


def check_max_age(facts: Facts) -> Iterator[Finding]:
    """Stream JOBS forgets events so soon that jobs which have not ended can vanish."""
    jobs = facts.jobs
    age = timedelta(0) if jobs is None else _age(jobs)
    if timedelta(0) < age < _AGE_MIN:
        yield Finding(
            check="max-age-short",
            severity=Severity.WARNING,
            subject=STREAM,
            text=f'stream "{STREAM}" forgets events after {age / timedelta(hours=1):g} h: a job that waits longer is lost, and so '
            "is the history of dead ones",
            remedy=f"run `nats stream edit {STREAM} --max-age=90d`",
        )


def check_message_size(facts: Facts) -> Iterator[Finding]:
    """A stream refuses messages that the server accepts: in a work stream, one such message stops all behind it."""
    for requirement, stream in _existing(facts):
        limit = stream.number("max_msg_size")
        if limit and limit < facts.server.max_payload:
            yield Finding(
                check="max-msg-size",
                severity=Severity.FAULT if requirement.name == WORK_STREAM else Severity.WARNING,
                subject=requirement.name,
                text=f'stream "{requirement.name}" refuses messages above {limit:,} bytes, and the server accepts '
                f"{facts.server.max_payload:,}: a larger job stops its sources or cannot be created",
                remedy=f"run `nats stream edit {requirement.name} --max-msg-size=-1`",
            )


def check_replicas(facts: Facts) -> Iterator[Finding]:
    """A cluster could keep three replicas, and a stream has one."""
    if facts.server.servers < _CLUSTER:
        return
    single = sorted(name for name, stream in facts.streams.items() if stream.number("num_replicas") <= 1)
    if single:
        yield Finding(
            check="replicas",
            severity=Severity.WARNING,
            subject=", ".join(single),
            text=f"the cluster has {facts.server.servers} servers, and one replica of {', '.join(single)}: while that server is "
            "down, jobs rest, and if its disk is lost, they are lost",
            remedy="run `nats stream edit <stream> --replicas=3` for each",
        )


def check_leaders(facts: Facts) -> Iterator[Finding]:
    """A replicated stream has no leader, or a replica that is behind."""
    for name, stream in facts.streams.items():
        if stream.is_clustered and stream.leader is None:
            yield Finding(
                check="no-leader",
                severity=Severity.FAULT,
                subject=name,
                text=f'stream "{name}" has no leader: it stores and delivers nothing',
                remedy="start the missing servers of the cluster: more than half of the replicas must run",
            )
        elif stream.replicas_behind:
            yield Finding(
                check="replica-behind",
                severity=Severity.WARNING,
                subject=name,
                text=f'stream "{name}" has replicas that are offline or behind: {", ".join(stream.replicas_behind)}',
                remedy=f"look at these servers; `nats stream info {name}` shows how far they are behind",
            )


def check_buckets(facts: Facts) -> Iterator[Finding]:
    """The bucket of a service does not exist: keys, pauses and the lease of the leader are in it."""
    if facts.unreadable:
        return
    for service in sorted({queue.service for queue in facts.queues if not queue.is_of_platform}):
        bucket = keys_bucket_of(service)
        if kv_stream(bucket) not in facts.streams:
            yield Finding(
                check="bucket-missing",
                severity=Severity.FAULT,
                subject=bucket,
                text=f'bucket "{bucket}" of {service} does not exist: no process of it leads, so lost jobs are not enqueued again; '
                "keyed jobs do not run, and queues cannot be paused",
                remedy="run `trellis provision apply PACKAGE`, or start a service whose account may create it",
            )


def check_keys_ttl(facts: Facts) -> Iterator[Finding]:
    """The bucket of a service forgets records by age."""
    for name, stream in facts.streams.items():
        if name.startswith(kv_stream("JOBS_KEYS_")) and stream.number("max_age"):
            age = _age(stream)
            yield Finding(
                check="keys-ttl",
                severity=Severity.FAULT,
                subject=name.removeprefix("KV_"),
                text=f"the bucket forgets records after {age / timedelta(seconds=1):g} s: more jobs of a key than its limit can run, "
                "and a pause ends without anyone having resumed it",
                remedy=f"run `nats stream edit {name} --max-age=0`",
            )
