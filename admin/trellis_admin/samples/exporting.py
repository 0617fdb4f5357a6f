"""Exports samples of the payloads that a worker may still read."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

from pydantic import JsonValue
from trellis_nats import Options, Runtime, Service
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.wire.message import Message
from trellis_nats.codec import encode_json
from trellis_nats.connect import open_connection
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.queue_surface import QueueSurface

from trellis_admin.audit.auditing import explain_stream, ignore_progress
from trellis_admin.audit.open_jobs import parse_subject
from trellis_admin.audit.readers import PayloadReader, Refused
from trellis_admin.audit.reading import Progress, find_jobs
from trellis_admin.audit.stored_jobs import (
    Selection,
    StoredPayload,
    list_queues,
    read_payloads,
    select_jobs,
)
from trellis_admin.packages import UnreadablePackage
from trellis_admin.samples.folder import Sample
from trellis_admin.samples.redaction import Redaction, is_replaced
from trellis_admin.samples.sampling import Sampling

__all__ = ["ExportRequest", "Exported", "export_samples", "load_manifest", "schema_of"]

_STEP: Final = "choosing samples"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRequest:
    """Which samples are exported."""

    sample: int
    """How many of each queue, at most."""
    redact: bool = True
    """Whether what may be secret is replaced."""
    pointers: tuple[tuple[str, ...], ...] = ()
    """What is secret in addition: JSON pointers, as `parse_pointer` reads them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What was chosen."""

    samples: tuple[Sample, ...]
    jobs: int
    """How many jobs they were chosen from."""
    unreadable: int
    """How many of these have no payload that could be exported."""
    unmatched: tuple[int, ...] = ()
    """Which pointers of the request, by their index, name nothing in any of the samples."""


def load_manifest(service: type[Service]) -> Mapping[str, JsonValue]:
    """Return the contract of a generated package, as its `contract.json` has it.

    Raises:
        UnreadablePackage: the package has no such file.
    """
    module = sys.modules[service.__module__].__file__ or ""
    path = Path(module).parent / "contract.json"
    try:
        manifest: object = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UnreadablePackage(
            f"{path} cannot be read, whose schemas say what is secret: {error}"
        ) from error
    if not isinstance(manifest, dict):
        raise UnreadablePackage(f"{path} is not a contract")
    return cast("dict[str, JsonValue]", manifest)


async def export_samples(
    service: type[Service],
    manifest: Mapping[str, JsonValue],
    server: str,
    options: Options,
    request: ExportRequest,
    *,
    progress: Progress = ignore_progress,
) -> Exported:
    """Choose samples of the payloads that wait or are dead, and redact them. Nothing on the server is changed.

    Args:
        service: the class of a generated package.
        manifest: its contract, as `load_manifest` returns it.
        server: the address of the server.
        options: how to connect.
        request: what is exported.
        progress: called from time to time.

    Raises:
        CannotAudit: the account may not read the stream of jobs, or there is none.
        TrellisError: the server cannot be reached, or does not answer.
    """
    runtime = Runtime(service.contract, options)
    service(runtime)
    binding = runtime.binding.jobs
    namespace = service.contract.name if binding is None else binding.namespace
    queues = list_queues(runtime.surfaces)
    async with open_connection(runtime, server) as connection:
        with explain_stream("JOBS"):
            export = _Export(connection, namespace, queues, progress)
            jobs = await find_jobs(connection, namespace, results=0, progress=progress)
            selection = select_jobs(jobs, queues)
            chosen = await export.choose(selection, Sampling(request.sample))
            payloads = await export.read(replace(selection, sequences=chosen))
    redactions = {
        name: Redaction(schema_of(manifest, name), request.pointers) if request.redact else None
        for name in queues
    }
    samples = [
        _make_sample(service.contract.id, payload, export.readers[payload.queue], redactions[payload.queue])
        for payload in payloads
    ]
    return Exported(
        samples=tuple(samples),
        jobs=selection.expected.total(),
        unreadable=export.unreadable,
        unmatched=tuple(
            index
            for index, pointer in enumerate(request.pointers)
            if not any(is_replaced(pointer, sample.redacted) for sample in samples)
        ),
    )


class _Export:
    """One run."""

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        queues: Mapping[str, QueueSurface],
        progress: Progress,
    ) -> None:
        self.readers = {name: PayloadReader(queue.spec, queue.payloads) for name, queue in queues.items()}
        self.unreadable = 0
        self._connection = connection
        self._namespace = namespace
        self._progress = progress

    async def choose(self, selection: Selection, sampling: Sampling) -> list[int]:
        """Return where the samples are, and where it stands who created their jobs."""
        done = 0
        async for page in read_payloads(self._connection, self._namespace, selection, self.readers):
            for queue, job_id, sequence, message, digest, is_dead in page:
                event = LifecycleEvent.parse(message.data)
                if event is None or not _is_json(event.payload):
                    self.unreadable += 1
                    continue
                sampling.add(queue, job_id, sequence, event.payload, digest=digest, is_dead=is_dead)
            done += len(page)
            self._progress(_STEP, done, len(selection.sequences))
        return sorted({*sampling.choose(), *selection.origins})

    async def read(self, selection: Selection) -> list[StoredPayload]:
        """Return the chosen payloads."""
        found: list[StoredPayload] = []
        async for page in read_payloads(self._connection, self._namespace, selection, self.readers):
            found += page
        return found


def _make_sample(
    contract_id: str, payload: StoredPayload, reader: PayloadReader, redaction: Redaction | None
) -> Sample:
    event = LifecycleEvent.parse(payload.message.data)
    stored = None if event is None else event.payload
    value, places = (stored, ()) if redaction is None else redaction.redact(stored)
    return Sample(
        contract=contract_id,
        digest=payload.digest,
        queue=payload.queue,
        event=parse_subject(payload.message.subject).kind,
        state="dead" if payload.is_dead else "waiting",
        payload=value,
        redacted=places,
        valid=_is_read(reader, payload.message, value, event),
        was_valid=_is_read(reader, payload.message, stored, event),
    )


def _is_read(reader: PayloadReader, message: Message, value: JsonValue, event: LifecycleEvent | None) -> bool:
    """Return whether the contract reads a payload in place of the one in a message."""
    if event is None:
        return False
    body = event.model_copy(update={"payload": value}).encode()
    return not isinstance(reader.read(message._replace(data=body), ""), Refused)


def _is_json(value: JsonValue) -> bool:
    """Return whether a payload can be written: other runtimes store text that is not Unicode, and NaN."""
    try:
        encode_json(value)
    except ValueError:
        return False
    return True


def schema_of(manifest: Mapping[str, JsonValue], queue: str, of: str = "payload") -> JsonValue:
    """Return the schema of the payloads or the results of a queue. Without one, nothing is declared, and everything is redacted."""
    jobs, schemas = _object(manifest.get("jobs")), _object(manifest.get("schemas"))
    reference = _object(_object(jobs.get(queue)).get(of)).get("schema")
    return schemas.get(reference, True) if isinstance(reference, str) else True


def _object(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}
