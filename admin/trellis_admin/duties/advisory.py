"""Reads the server's advisories about messages that it does not deliver any more, and decides what they mean. Pure.

A consumer with a delivery limit leaves a message in the work stream once the limit is reached: no worker receives it again
(reference, 12.3 and 17.6). The consumers of this runtime have no limit; those of other runtimes do.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from pydantic import JsonValue
from trellis_nats.clock import parse_timestamp
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.jobs.model.subjects import EVENTS_PREFIX, WORK_PREFIX
from trellis_nats.jobs.model.triage import is_outdated

from trellis_admin.duties.job_life import JobLife

__all__ = ["Advisory", "Exhausted", "Spared", "judge_advisory", "lifecycle_prefix", "parse_advisory"]

_KIND: Final = "io.nats.jetstream.advisory.v1.max_deliver"
_NAME: Final = re.compile(r"[^\s.*>/\\]{1,255}")
"""A stream or a consumer, as it may stand in a subject of the API."""
_WORK: Final = re.compile(rf"{re.escape(WORK_PREFIX)}\.([^\s.*>]+\.[^\s.*>]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Advisory:
    """A message of a stream that a consumer does not deliver any more."""

    stream: str
    consumer: str
    sequence: int
    """That of the message in the stream."""
    deliveries: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The job is dead: no worker receives it again."""

    previous: JobState
    tries: int
    error: str


@dataclass(frozen=True, slots=True)
class Spared:
    """The advisory does not end the job."""

    reason: str


def parse_advisory(data: bytes, *, stored_at: datetime) -> Advisory | None:
    """Read an advisory; None for anything else, also for one whose names could not be those of a stream and a consumer.

    Args:
        data: the stored text.
        stored_at: when the server stored it, for an advisory without a time that can be read.
    """
    try:
        body: object = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    members = cast("dict[str, JsonValue]", body)
    # Other runtimes accept both spellings (reference, 17.6).
    sequence = members.get("stream_seq", members.get("streamSeq"))
    deliveries = members.get("deliveries", members.get("num_deliveries"))
    stream, consumer = members.get("stream"), members.get("consumer")
    if members.get("type") != _KIND or not _is_name(stream) or not _is_name(consumer):
        return None
    if not _is_count(sequence) or not _is_count(deliveries):
        return None
    return Advisory(
        stream=cast("str", stream),
        consumer=cast("str", consumer),
        sequence=cast("int", sequence),
        deliveries=cast("int", deliveries),
        at=_instant(members.get("timestamp")) or stored_at,
    )


def lifecycle_prefix(work_subject: str) -> str | None:
    """Return the subject under which the events of a work message's queue are; None if it is not a work message."""
    found = _WORK.fullmatch(work_subject)
    return None if found is None else f"{EVENTS_PREFIX}.{found[1]}"


def judge_advisory(
    advisory: Advisory, work: LifecycleEvent, life: JobLife, *, consumer_created: datetime | None
) -> Exhausted | Spared:
    """Decide whether an advisory ends a job.

    Args:
        advisory: what the server reported.
        work: the event in the message that is not delivered any more.
        life: the job as it stands now.
        consumer_created: when the consumer was created; None if there is none now.
    """
    if work.event_type not in (EventType.CREATED, EventType.RETRIED):
        return Spared("the message is not work")
    if life.has_ended:
        return Spared("the job has ended")
    if is_outdated(work, life.opening.event):
        return Spared("the job was retried since, and has a newer message")
    if consumer_created is None or consumer_created > advisory.at:
        # A consumer that is created later receives every message of the work stream that is left (measured on 2.15).
        return Spared("the consumer was deleted since: its successor receives the message")
    error = (
        f"max deliveries exceeded: stream={advisory.stream} consumer={advisory.consumer} "
        f"deliveries={advisory.deliveries}"
    )
    return Exhausted(life.state, max(life.tries, advisory.deliveries), error)


def _is_name(value: JsonValue) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_count(value: JsonValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _instant(value: JsonValue) -> datetime | None:
    try:
        return parse_timestamp(value) if isinstance(value, str) else None
    except ValueError:
        return None
