"""Audits a service: reads what its jobs, and if asked its results and events, have stored, with the types of a contract."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from trellis_nats import Options, Runtime, Service, TrellisError
from trellis_nats._nats.connection import Connection
from trellis_nats._versions import digest_of
from trellis_nats.connect import open_connection
from trellis_nats.errors import ApiError, PermissionDenied
from trellis_nats.events.publisher import PublisherSurface
from trellis_nats.events.subjects import EVENT_STREAM
from trellis_nats.grants import StartCheck
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import STREAM
from trellis_nats.jobs.queue_surface import QueueSurface
from trellis_nats.runtime import runtime_of
from trellis_nats.specs import EventSpec
from trellis_nats.surface import Surface

from trellis_admin.audit.counts import Audit, Kind, Subject
from trellis_admin.audit.open_jobs import OpenJobs, parse_subject
from trellis_admin.audit.readers import EventReader, PayloadReader, Refused, ResultReader, Upcast
from trellis_admin.audit.reading import Progress, find_jobs, find_newest, job_filters, read_chosen
from trellis_admin.audit.stored_jobs import list_queues, read_payloads, select_jobs

__all__ = ["AuditRequest", "CannotAudit", "audit_service", "explain_stream", "ignore_progress"]

_STEP: Final = "reading"
_NO_STREAM: Final = 10059


class CannotAudit(TrellisError):
    """A stream cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRequest:
    """What is read in addition to the payloads of jobs."""

    results: int = 0
    """How many results of each queue, the newest ones."""
    events: int = 0
    """How many events of each kind, likewise."""
    keep_values: bool = False
    """Whether the examples of values that are refused have the values themselves."""


def ignore_progress(_step: str, _done: int, _total: int) -> None:
    """Show nothing."""


async def audit_service(
    service: type[Service] | Service,
    server: str,
    options: Options,
    request: AuditRequest | None = None,
    *,
    progress: Progress = ignore_progress,
) -> Audit:
    """Read everything that the jobs of a service have stored, and that a process of this contract may still read.

    It reads only: nothing is acknowledged or written, and its consumers are removed. Memory grows with the jobs that have not
    ended, failed or are dead: less than 200 bytes for each, and two pages of 8 MiB.

    Args:
        service: the class of a generated package; or a service on which upcasters are registered, which need not be connected.
        server: the address of the server.
        options: how to connect.
        request: what is read in addition to payloads.
        progress: called from time to time.

    Raises:
        CannotAudit: the account may not read a stream, or there is no such stream.
        TrellisError: the server cannot be reached, or does not answer.
    """
    runtime = Runtime(service.contract, options)
    own = (type(service) if isinstance(service, Service) else service)(runtime)
    surfaces = runtime_of(service if isinstance(service, Service) else own).surfaces
    async with open_connection(runtime, server) as connection:
        auditing = _Auditing(runtime, surfaces, connection, request or AuditRequest(), progress)
        with explain_stream(STREAM):
            subjects = await auditing.audit_jobs()
        with explain_stream(EVENT_STREAM.name):
            subjects += await auditing.audit_events()
    return Audit(contract_id=service.contract.id, digest=service.contract.digest, subjects=tuple(subjects))


@contextmanager
def explain_stream(stream: str) -> Generator[None]:
    """Say what to do where a stream cannot be read."""
    try:
        yield
    except PermissionDenied as error:
        raise CannotAudit(f'{error}; permissions(…, "auditor") lists what an audit needs') from error
    except ApiError as error:
        if error.err_code != _NO_STREAM:
            raise
        raise CannotAudit(
            f'stream "{stream}" does not exist on this server: no service has stored anything there, or it is in another '
            "account or domain"
        ) from error


@dataclass(slots=True)
class _Auditing:
    """One run."""

    runtime: Runtime
    surfaces: Sequence[Surface]
    """Those of the service whose upcasters are used."""
    connection: Connection
    request: AuditRequest
    progress: Progress

    async def audit_jobs(self) -> list[Subject]:
        """Read payloads, and results if asked."""
        binding = self.runtime.binding.jobs
        namespace = self.runtime.contract.name if binding is None else binding.namespace
        jobs = await find_jobs(
            self.connection, namespace, results=self.request.results, progress=self.progress
        )
        queues = list_queues(self.surfaces)
        payloads = await self._audit_payloads(queues, jobs, namespace)
        return [*payloads, *await self._audit_results(queues, jobs.results(), namespace)]

    async def _audit_payloads(
        self, queues: Mapping[str, QueueSurface], jobs: OpenJobs, namespace: str
    ) -> list[Subject]:
        selection = select_jobs(jobs, queues)
        subjects = {
            name: Subject(Kind.PAYLOAD, name, upcast_versions=queue.payloads.upcast_versions)
            for name, queue in queues.items()
        }
        readers = {
            name: PayloadReader(queue.spec, queue.payloads, show_raised=self.request.keep_values)
            for name, queue in queues.items()
        }
        done = 0
        async for page in read_payloads(self.connection, namespace, selection, readers):
            for payload in page:
                found = readers[payload.queue].read(payload.message, payload.digest)
                self._count(
                    subjects[payload.queue], found, payload.digest, payload.job_id, is_dead=payload.is_dead
                )
            done += len(page)
            self.progress(_STEP, done, len(selection.sequences))
        for name, subject in subjects.items():
            subject.gone = selection.expected[name] - subject.counted.total
        for name, counted in selection.removed.items():
            subjects[name] = Subject(Kind.PAYLOAD, name, is_declared=False, counted=counted)
        return [subjects[name] for name in sorted(subjects)]

    async def _audit_results(
        self, queues: Mapping[str, QueueSurface], chosen: Sequence[int], namespace: str
    ) -> list[Subject]:
        if not self.request.results:
            return []
        specs = {name: queue.spec for name, queue in queues.items() if queue.spec.result is not None}
        subjects = {name: Subject(Kind.RESULT, name) for name in sorted(specs)}
        readers = {name: ResultReader(spec) for name, spec in specs.items()}
        filters = job_filters(namespace, [EventType.COMPLETED])
        async for page in read_chosen(self.connection, STREAM, filters, chosen):
            for stored in page:
                place = parse_subject(stored.message.subject)
                if place.queue in readers:
                    found = readers[place.queue].read(stored.message)
                    digest = digest_of(stored.message.headers)
                    self._count(subjects[place.queue], found, digest, place.job_id, is_dead=False)
        return [*subjects.values()]

    async def audit_events(self) -> list[Subject]:
        """Read the newest events, if asked."""
        subjects: list[Subject] = []
        for spec in self._event_specs() if self.request.events else ():
            subject, reader = Subject(Kind.EVENT, spec.name), EventReader(spec)
            chosen = await find_newest(self.connection, EVENT_STREAM.name, spec.filter, self.request.events)
            async for page in read_chosen(self.connection, EVENT_STREAM.name, [spec.filter], chosen):
                for stored in page:
                    headers = stored.message.headers
                    event_id = headers.get("Nats-Msg-Id", str(stored.sequence))
                    found = reader.read(stored.message)
                    self._count(subject, found, digest_of(headers), event_id, is_dead=False)
            subjects.append(subject)
        return subjects

    def _count(
        self,
        subject: Subject,
        found: Refused | Upcast | None,
        digest: str,
        example_id: str,
        *,
        is_dead: bool,
    ) -> None:
        if isinstance(found, Refused) and not self.request.keep_values:
            found = found._replace(value=None)
        subject.count(digest, found, example_id, is_dead=is_dead)

    def _event_specs(self) -> list[EventSpec]:
        """Return the events of the contract itself."""
        return [
            surface.spec
            for surface in self.runtime.surfaces
            if isinstance(surface, PublisherSurface) and surface.at_start is StartCheck.REQUIRED
        ]
