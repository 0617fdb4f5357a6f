"""Reads stored values as the processes of a contract would.

Payloads are read as by its workers, results as by those that wait for them, events as by its listeners.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from pydantic import JsonValue
from trellis_nats._nats.wire.message import Message
from trellis_nats.codec import Codec, decode_json
from trellis_nats.errors import InvalidPayload
from trellis_nats.events.envelope import read_event
from trellis_nats.jobs.keys.model.template import resolve
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.malformed import malformed_reason
from trellis_nats.jobs.model.work_event import WorkEventReader
from trellis_nats.specs import EventSpec, JobSpec

from trellis_admin.audit.failures import MALFORMED, Classifier, Failure

__all__ = ["EventReader", "PayloadReader", "Reader", "Refused", "ResultReader"]


class Refused(NamedTuple):
    """Why a value is refused."""

    failures: tuple[Failure, ...]
    value: JsonValue
    """The value as it is stored; None if it cannot be read at all."""


class Reader(Protocol):
    """Reads the values of one queue or event."""

    def read(self, message: Message) -> Refused | None:
        """Read the value in a message. None: the contract reads it."""
        ...


class PayloadReader:
    """Reads payloads of jobs by what a worker does before it begins an attempt."""

    def __init__(self, spec: JobSpec) -> None:
        self._queue = spec.name
        self._template = None if spec.key is None else spec.key.template
        codec = Codec[Any](spec.payload, what="the payload")  # Any: the type is data here
        self._events = WorkEventReader(codec)
        self._classifier = Classifier(spec.payload)

    def read(self, message: Message) -> Refused | None:
        """Read the payload of a `created` or `retried` event."""
        event = self._events.read(message.data)
        if event is None or malformed_reason(event, self._queue) is not None:
            return Refused((MALFORMED,), None)
        try:
            self._events.payload(event)
        except InvalidPayload as error:
            value = self._events.payload_json(event, message.data)
            return Refused(self._classifier.classify(error, value), value)
        return None if self._template is None else self._read_key(self._template, event, message.data)

    def _read_key(self, template: tuple[str, ...], event: LifecycleEvent, data: bytes) -> Refused | None:
        value = self._events.payload_json(event, data)
        try:
            resolve(template, value, what="the payload")
        except InvalidPayload as error:
            return Refused(self._classifier.classify(error, value, otherwise="concurrency_key"), value)
        return None


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
