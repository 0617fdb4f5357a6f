"""Reads stored values as the processes of a contract would.

Payloads are read as by its workers, results as by those that wait for them, events as by its listeners.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import JsonValue
from trellis_nats._nats.wire.message import Message
from trellis_nats._versions import digest_of
from trellis_nats.codec import Codec, decode_json
from trellis_nats.errors import InvalidPayload, UpcastFailed
from trellis_nats.events.envelope import read_event
from trellis_nats.jobs.keys.model.event_fields import key_of_stored
from trellis_nats.jobs.model.event import LifecycleEvent, StoredEvent
from trellis_nats.jobs.model.malformed import malformed_reason
from trellis_nats.jobs.model.payload_reader import PayloadReader as StoredPayloads
from trellis_nats.jobs.model.work_event import WorkEventReader
from trellis_nats.jobs.model.writer import payload_writer
from trellis_nats.specs import EventSpec, JobSpec

from trellis_admin.audit.failures import MALFORMED, Classifier, Failure

__all__ = ["EventReader", "PayloadReader", "Refused", "ResultReader", "Upcast"]


class Refused(NamedTuple):
    """Why a value is refused."""

    failures: tuple[Failure, ...]
    value: JsonValue
    """The value as it is stored; None if it cannot be read at all."""


class Upcast(NamedTuple):
    """An upcaster of the contract reads the value."""

    upcaster: str
    """The name of its function."""


class PayloadReader:
    """Reads payloads of jobs by what a worker does before it begins an attempt."""

    def __init__(self, spec: JobSpec, payloads: StoredPayloads[Any], *, show_raised: bool = False) -> None:
        """Prepare.

        Args:
            spec: the queue.
            payloads: reads its payloads.
            show_raised: whether the texts of exceptions that upcasters raise are kept. They may have values of payloads.
        """
        self._show_raised = show_raised
        self._queue = spec.name
        self._template = None if spec.key is None else spec.key.template
        self._events = WorkEventReader(payloads)
        self._classifier = Classifier(spec.payload)
        self._created: dict[str, StoredEvent] = {}

    def remember(self, message: Message, sequence: int, job_id: str) -> None:
        """Remember who created a job, whose next event repeats the payload and may not name its writer."""
        event = LifecycleEvent.parse(message.data)
        if event is not None:
            self._created[job_id] = StoredEvent(event, sequence, None, digest=digest_of(message.headers))

    def find_writer(self, message: Message, job_id: str) -> str:
        """Return the digest of the contract that wrote the payload in a message, as its worker finds it."""
        digest, created = digest_of(message.headers), self._created.pop(job_id, None)
        if digest or created is None:
            return digest
        event = LifecycleEvent.parse(message.data)
        return "" if event is None else payload_writer(StoredEvent(event, 0, None), created)

    def read(self, message: Message, digest: str) -> Refused | Upcast | None:
        """Read the payload of a `created` or `retried` event."""
        event = self._events.read(message.data, digest)
        if event is None or malformed_reason(event, self._queue) is not None:
            return Refused((MALFORMED,), None)
        try:
            payload = self._events.payload(event, digest)
        except UpcastFailed as error:
            return Refused((self._explain_upcast(error),), event.payload)
        except InvalidPayload as error:
            return Refused(self._classifier.classify(error, event.payload), event.payload)
        if self._template is not None:
            try:
                key_of_stored(
                    self._template,
                    event,
                    digest=digest,
                    payload=lambda: self._events.payload_json(event, message.data, digest),
                    what="the payload",
                )
            except InvalidPayload as error:
                value = self._events.payload_json(event, message.data, digest)
                return Refused(self._classifier.classify(error, value, otherwise="concurrency_key"), value)
        return None if payload.upcaster is None else Upcast(payload.upcaster)

    def _explain_upcast(self, error: UpcastFailed) -> Failure:
        cause = error.__cause__
        problem = (
            "did not return a payload of this version" if cause is None else f"raised {type(cause).__name__}"
        )
        text = error.issues[-1][1] if self._show_raised else f"the upcaster {error.upcaster} {problem}"
        return Failure("upcast_failed", "", text)


class ResultReader:
    """Reads results of completed jobs."""

    def __init__(self, spec: JobSpec) -> None:
        self._codec = Codec[Any](spec.result, what="the result")
        self._classifier = Classifier(spec.result)

    def read(self, message: Message) -> Refused | None:
        """Read the result of a `completed` event."""
        event = LifecycleEvent.parse(message.data)
        if event is None:
            return Refused((MALFORMED,), None)
        try:
            self._codec.from_json(event.result)
        except InvalidPayload as error:
            return Refused(self._classifier.classify(error, event.result), event.result)
        return None


class EventReader:
    """Reads events."""

    def __init__(self, spec: EventSpec) -> None:
        self._codec = Codec[Any](spec.event, what="the event")
        self._classifier = Classifier(spec.event)

    def read(self, message: Message) -> Refused | None:
        """Read an event."""
        try:
            read_event(self._codec, message)
        except InvalidPayload as error:
            try:
                value = decode_json(message.data)
            except ValueError:
                value = None
            return Refused(self._classifier.classify(error, value), value)
        return None
