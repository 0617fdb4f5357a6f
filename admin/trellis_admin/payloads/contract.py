"""The payloads of one contract: read as its workers read them, and redacted by its schemas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, Literal, Self

from pydantic import JsonValue
from trellis_nats import Options, Runtime, Service
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.wire.message import Message
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.codec import JsonText, decode_json
from trellis_nats.contract import Contract
from trellis_nats.errors import ConfigurationError, InvalidPayload
from trellis_nats.ids import new_id
from trellis_nats.jobs.keys.create import KeyedCreator
from trellis_nats.jobs.keys.queue_keys import build_queue_keys
from trellis_nats.jobs.model.payload_reader import PayloadReader as StoredPayloads
from trellis_nats.jobs.model.subjects import JobSubjects
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.store.liveness import Liveness
from trellis_nats.runtime import runtime_of

from trellis_admin.audit.readers import PayloadReader, Refused
from trellis_admin.audit.stored_jobs import list_queues
from trellis_admin.samples import load_manifest
from trellis_admin.samples.exporting import schema_of
from trellis_admin.samples.redaction import Redacted, Redaction

__all__ = ["PayloadContract", "ValueKind", "find_contract"]

_TIMEOUT: Final = timedelta(seconds=5)
_UNDECLARED: Final = Redaction(schema=True)
"""A contract has no schema for checkpoints. What is not declared may hold anything."""

ValueKind = Literal["payload", "result", "checkpoint"]
"""A value that a job stores, by its member of an event."""


class PayloadContract:
    """A contract, by a generated package. Queues are named by their publish prefix."""

    def __init__(
        self,
        contract: Contract,
        readers: Mapping[str, PayloadReader],
        payloads: Mapping[str, StoredPayloads[Any]],
        redactions: Mapping[str, Mapping[ValueKind, Redaction]],
        jobs: JobsBinding | None = None,
    ) -> None:
        self.id = contract.id
        """For example `orders-service@v1`."""
        self.digest = contract.digest
        """The digest of the contract."""
        self._jobs = jobs
        self._readers = readers
        self._payloads = payloads
        self._redactions = redactions

    @classmethod
    def of(cls, service: type[Service] | Service) -> Self:
        """Read the contract of a generated package. A service may have upcasters registered.

        Raises:
            UnreadablePackage: the package has no `contract.json`.
        """
        own_type = type(service) if isinstance(service, Service) else service
        runtime = Runtime(service.contract, Options())
        own = own_type(runtime)
        surfaces = runtime_of(service if isinstance(service, Service) else own).surfaces
        jobs = runtime.binding.jobs
        if jobs is None:
            return cls(service.contract, {}, {}, {})
        manifest = load_manifest(own_type)
        queues = list_queues(surfaces)
        prefixes = {name: jobs.queues[name].publish_prefix for name in queues if name in jobs.queues}
        return cls(
            service.contract,
            {
                prefix: PayloadReader(queues[name].spec, queues[name].payloads)
                for name, prefix in prefixes.items()
            },
            {prefix: queues[name].payloads for name, prefix in prefixes.items()},
            {prefix: _redactions(manifest, name) for name, prefix in prefixes.items()},
            jobs,
        )

    def has_queue(self, prefix: str) -> bool:
        """Return whether the contract has the queue."""
        return prefix in self._readers

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The publish prefixes of its queues."""
        return tuple(self._readers)

    def find_queue(self, prefix: str) -> QueueBinding | None:
        """Return what the contract states about a queue; None where it does not have it."""
        queues = () if self._jobs is None else self._jobs.queues.values()
        return next((queue for queue in queues if queue.publish_prefix == prefix), None)

    def refuse(self, prefix: str, data: bytes, digest: str) -> str | None:
        """Return why a worker of the contract would refuse the payload of an event; None if it reads it.

        Args:
            prefix: the queue's. One that the contract does not have refuses nothing.
            data: the text of a `created` or `retried` event.
            digest: of the contract that wrote it; empty where that is not known.
        """
        reader = self._readers.get(prefix)
        if reader is None:
            return None
        found = reader.read(Message("", data, {}), digest)
        if not isinstance(found, Refused):
            return None
        named = "; ".join(f"{failure.place or '/'}: {failure.text}" for failure in found.failures[:3])
        return f"contract {self.digest[:8]} does not read it: {named}"

    def redact(self, prefix: str, kind: ValueKind, value: JsonValue) -> Redacted:
        """Return a value of a job without what the contract calls secret, or does not declare.

        Args:
            prefix: the queue's. Of one that the contract does not have, nothing is declared.
            kind: whose schema describes the value.
            value: what is stored.
        """
        return self._redactions.get(prefix, {}).get(kind, _UNDECLARED).redact(value)

    def validate(self, prefix: str, text: bytes) -> JsonText:
        """Return a new payload, with its text as it is, once it is known that workers read it.

        Args:
            prefix: the queue's.
            text: the payload as JSON.

        Raises:
            InvalidPayload: it is not JSON, or does not match its schema.
            ConfigurationError: the contract does not have the queue.
        """
        payloads = self._payloads.get(prefix)
        if payloads is None:
            raise ConfigurationError(f"the contract {self.digest[:8]} does not have the queue of {prefix}")
        try:
            value = decode_json(text)
        except ValueError as error:
            raise InvalidPayload("the edited payload", [("#", f"it is not JSON: {error}")]) from None
        payloads.read(value, self.digest)
        return JsonText(value, text)

    def creator(self, connection: Connection, prefix: str) -> KeyedCreator | None:
        """Return what admits new jobs to their keys; None for a queue without concurrency keys."""
        queue = self.find_queue(prefix)
        if self._jobs is None or queue is None:
            return None
        keys = build_queue_keys(
            connection,
            self._jobs,
            queue,
            EventLog(connection, JobSubjects(prefix), digest=self.digest, timeout=_TIMEOUT),
            Liveness(
                connection, namespace=self._jobs.namespace, instance_id=new_id(), peers_may_differ=False
            ),
            timeout=_TIMEOUT,
            upcast_json=self._payloads[prefix].upcast_json,
        )
        return None if keys is None else keys.creator


def find_contract(contracts: Iterable[PayloadContract], prefix: str) -> PayloadContract | None:
    """Return the contract that has a queue; None if there is none."""
    return next((contract for contract in contracts if contract.has_queue(prefix)), None)


def _redactions(manifest: Mapping[str, JsonValue], queue: str) -> Mapping[ValueKind, Redaction]:
    return {
        "payload": Redaction(schema_of(manifest, queue)),
        "result": Redaction(schema_of(manifest, queue, "result")),
    }
