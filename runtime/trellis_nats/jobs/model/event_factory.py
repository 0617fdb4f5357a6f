"""Makes the events of a job. Pure: the caller gives the instant."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from json.encoder import encode_basestring as _quote
from types import MappingProxyType
from typing import Final

from pydantic import JsonValue

from trellis_nats.clock import later, timestamp
from trellis_nats.context import Context
from trellis_nats.jobs.model.copied_event import CopiedEvent, CopiedMembers
from trellis_nats.jobs.model.event import JobLogEntry, JobProgress, NewEvent
from trellis_nats.jobs.model.outcome import Settlement
from trellis_nats.jobs.model.states import EventType, JobState

__all__ = ["NOT_KEYED", "NO_FIELDS", "JobIdentity"]

ERROR_BYTES_MAX = 8 * 1024
"""How much of an error's text is stored: the stream keeps it as long as the job (faults.md, E.3)."""

NO_FIELDS: Final[Mapping[str, JsonValue]] = MappingProxyType({})
NOT_KEYED: Final = NO_FIELDS
"""The key fields of a job without a key: none."""


class JobIdentity:
    """What every event of one job repeats."""

    __slots__ = ("_begin", "_context", "_headers", "context", "job_id", "queue", "service")

    def __init__(self, *, job_id: str, service: str, queue: str, context: Context) -> None:
        self.job_id = job_id
        self.service = service
        self.queue = queue
        self.context = context
        self._begin = f'{{"jobId":{_quote(job_id)},"service":{_quote(service)},"jobType":{_quote(queue)}'
        self._context = _write_context(context)
        self._headers = context.header_lines()

    def created(
        self,
        payload: bytes,
        *,
        max_tries: int | None,
        deadline: datetime | None,
        trigger: JsonValue,
        lineage: JsonValue,
        at: datetime,
        not_before: datetime | None = None,
    ) -> NewEvent:
        """Make the `created` event; `payload` is JSON text."""
        fields: dict[str, JsonValue] = {}
        if deadline is not None:
            fields["deadline"] = timestamp(deadline)
        if not_before is not None:
            fields["notBefore"] = timestamp(not_before)
        if trigger is not None:
            fields["trigger"] = trigger
        if lineage is not None:
            fields["lineage"] = lineage
        event = self._event(EventType.CREATED, JobState.PENDING, None, 0, at, fields, max_tries=max_tries)
        event.payload = payload
        return event

    def started(
        self,
        *,
        previous: JobState,
        tries: int,
        instance_id: str,
        at: datetime,
        keyed: Mapping[str, JsonValue] = NOT_KEYED,
    ) -> NewEvent:
        """Make the `started` event of an attempt in the process `instance_id`. `keyed` describes the slot of its key."""
        fields: dict[str, JsonValue] = {**keyed, "worker": {"instanceId": instance_id}}
        return self._event(EventType.STARTED, JobState.ACTIVE, previous, tries, at, fields)

    def progress(self, progress: JobProgress, *, tries: int, at: datetime) -> NewEvent:
        """Make the event of a progress report."""
        body = progress.model_dump(mode="json", by_alias=True, exclude_none=True)
        return self._event(
            EventType.PROGRESS, JobState.ACTIVE, JobState.ACTIVE, tries, at, {"progress": body}
        )

    def logged(self, entry: JobLogEntry, *, tries: int, at: datetime) -> NewEvent:
        """Make the event of a log line."""
        body: JsonValue = [entry.model_dump(mode="json", by_alias=True)]
        return self._event(EventType.LOGGED, JobState.ACTIVE, JobState.ACTIVE, tries, at, {"logs": body})

    def checkpoint(self, value: JsonValue, *, tries: int, at: datetime) -> NewEvent:
        """Make the event of a checkpoint. Its body is that of a log without lines.

        Some runtimes read the newest event of a job whatever its subject is, and stop at a type that they do not know.
        """
        fields: dict[str, JsonValue] = {"logs": [], "checkpoint": value}
        event = self._event(EventType.LOGGED, JobState.ACTIVE, JobState.ACTIVE, tries, at, fields)
        event.event_type = EventType.CHECKPOINT
        return event

    def settled(
        self,
        settlement: Settlement,
        event: EventType,
        *,
        result: bytes | None,
        at: datetime,
        keyed: Mapping[str, JsonValue] = NOT_KEYED,
    ) -> NewEvent:
        """Make the event that ends an attempt; `result` is the result of its handler as JSON text."""
        fields: dict[str, JsonValue] = {}
        if settlement.error is not None:
            fields["error"] = shorten(settlement.error)
        if settlement.detail is not None:
            fields["errorDetail"] = settlement.detail.to_json(self.service, self.queue)
        if event is EventType.RETRY and settlement.delay > timedelta(0):
            fields["notBefore"] = timestamp(later(at, settlement.delay))
        fields |= keyed
        settled = self._event(event, settlement.state, JobState.ACTIVE, settlement.tries, at, fields)
        settled.result = result
        return settled

    def ended(
        self,
        event: EventType,
        *,
        previous: JobState,
        tries: int,
        error: str,
        at: datetime,
        admin: Mapping[str, JsonValue] = NO_FIELDS,
    ) -> NewEvent:
        """Make the event that ends a job without a handler: cancelled, expired, dead, dismissed, or failed before it began.

        `admin` names the person or program that acts from outside, and its reason.
        """
        fields: dict[str, JsonValue] = {"error": shorten(error)}
        if admin:
            fields["adminAction"] = dict(admin)
        return self._event(event, JobState(event.value), previous, tries, at, fields)

    def retried(
        self,
        copied: CopiedMembers,
        *,
        previous: JobState,
        deadline: datetime | None,
        trigger: JsonValue,
        admin: Mapping[str, JsonValue],
        at: datetime,
    ) -> CopiedEvent:
        """Make the event by which a job that ended begins again, with the payload that is stored."""
        fields: dict[str, JsonValue] = {}
        if deadline is not None:
            fields["deadline"] = timestamp(deadline)
        if trigger is not None:
            fields["trigger"] = trigger
        if copied.concurrency is not None:
            fields["concurrency"] = dict(copied.concurrency)
        if admin:
            fields["adminAction"] = dict(admin)
        event = self._event(
            EventType.RETRIED, JobState.PENDING, previous, 0, at, fields, max_tries=copied.max_tries
        )
        return CopiedEvent.of(event, copied)

    def _event(
        self,
        event: EventType,
        state: JobState,
        previous: JobState | None,
        tries: int,
        at: datetime,
        fields: dict[str, JsonValue],
        *,
        max_tries: int | None = None,
    ) -> NewEvent:
        before = "" if previous is None else f'"previousState":"{previous}",'
        most = "" if max_tries is None else f',"maxTries":{max_tries}'
        head = (
            f'{self._begin},"eventType":"{event}","state":"{state}",{before}"tries":{tries}{most},'
            f'"context":{self._context}'
        )
        fields["timestamp"] = timestamp(at)
        return NewEvent(self.job_id, event, self._headers, head.encode(), fields, self.context)


def _write_context(context: Context) -> str:
    state = "" if context.tracestate is None else f',"tracestate":{_quote(context.tracestate)}'
    return (
        f'{{"requestId":{_quote(context.request_id)},"traceId":{_quote(context.trace_id)},'
        f'"traceparent":{_quote(context.traceparent)}{state}}}'
    )


def read_text(error: BaseException, most: int) -> str:
    """Return the first characters of an exception's text. Its class may be one whose `__str__` raises."""
    try:
        return str(error)[:most]
    except Exception:  # noqa: BLE001 - its `__str__` may raise anything
        return "the error's text cannot be read"


def shorten(text: str) -> str:
    """Cut a text to 8 KiB and replace its control characters, before it is stored or logged."""
    # Cut first: the text may have millions of characters, each of which has at least one byte.
    kept = text[: ERROR_BYTES_MAX + 1]
    clean = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in kept)
    data = clean.encode(errors="replace")
    if len(data) <= ERROR_BYTES_MAX:
        return data.decode()
    return data[:ERROR_BYTES_MAX].decode(errors="ignore") + " …"
