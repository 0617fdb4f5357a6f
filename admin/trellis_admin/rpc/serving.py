"""Registers the admin RPCs on a service."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from trellis_nats import RpcContext, ValidationError
from trellis_nats.clock import now, to_milliseconds
from trellis_nats.errors import JobNotFound
from trellis_nats.jobs.model.states import JobState

from trellis_admin.audit_log import AdminResourceMissing
from trellis_admin.keys import KeyProblem, StoredKey
from trellis_admin.operator import AmbiguousJob, Operator
from trellis_admin.payloads import Revealed
from trellis_admin.queries import read_status
from trellis_admin.rpc.job_object import states_named
from trellis_admin.rpc.listing import Wanted, list_wanted, read_services
from trellis_admin.rpc.reading import read_job
from trellis_admin.rpc.steering import CANCEL, DISMISS, REPLAY, RETRY, JobAction, not_found, steer
from trellis_admin.rpc.trellis_jobs_participant import (
    Empty,
    Job,
    JobsCancelRequest,
    JobsCancelResponse,
    JobsDismissDLQRequest,
    JobsDismissDLQResponse,
    JobsGetKeyRequest,
    JobsGetKeyResponse,
    JobsGetKeyResponseActiveItem,
    JobsGetKeyResponseQueuedItem,
    JobsGetRequest,
    JobsGetResponse,
    JobsHealthResponse,
    JobsListDLQRequest,
    JobsListDLQResponse,
    JobsListRequest,
    JobsListResponse,
    JobsListServicesRequest,
    JobsListServicesResponse,
    JobsReplayDLQRequest,
    JobsReplayDLQResponse,
    JobsRetryRequest,
    JobsRetryResponse,
    NotFoundError,
    TrellisJobsService,
)
from trellis_admin.session import JobPlace, QueueProblem

__all__ = ["serve_admin_rpcs"]

_NAME: Final = "trellis.jobs"
_SERVICES_MAX: Final = 500
_DEAD: Final = frozenset({JobState.DEAD})


def serve_admin_rpcs(service: TrellisJobsService, operator: Operator) -> None:
    """Give the RPCs of a service their handlers. Start the service afterwards.

    Args:
        service: it answers.
        operator: what is asked. Its projection must be kept up to date. The audit log names its actor, unless the caller is known.
    """
    _serve_reading(service, operator)
    _serve_lists(service, operator)
    _serve_get(service, operator)
    _serve_steering(service, operator)


def _serve_reading(service: TrellisJobsService, operator: Operator) -> None:
    rpc, session = service.rpc.jobs, operator.session

    @rpc.health.handle
    async def health(_context: RpcContext, _request: Empty) -> JobsHealthResponse:
        status = await session.ask(read_status)
        lag = max(status.last_sequence - status.at, 0)
        return JobsHealthResponse(
            service=_NAME,
            status="healthy" if status.is_complete else "starting",
            timestamp=now(),
            checks=[{"name": "projection", "sequence": status.at, "behind": lag, "jobs": status.jobs}],
        )

    @rpc.list_services.handle
    async def list_services(
        _context: RpcContext, request: JobsListServicesRequest
    ) -> JobsListServicesResponse:
        found = await read_services(session, now())
        offset, limit = request.offset or 0, min(request.limit, _SERVICES_MAX)
        following = offset + limit
        more = {"next_offset": following} if following < len(found) else {}
        return JobsListServicesResponse(
            entries=found[offset:following], count=len(found), offset=offset, limit=limit, **more
        )

    @rpc.get_key.handle
    async def get_key(_context: RpcContext, request: JobsGetKeyRequest) -> JobsGetKeyResponse:
        try:
            stored = await operator.keys.show(f"{request.service}/{request.type}", request.key)
        except (KeyProblem, QueueProblem) as problem:
            raise NotFoundError(str(problem), resource="Key") from None
        return _to_key(request, stored, now())


def _serve_lists(service: TrellisJobsService, operator: Operator) -> None:
    rpc, session = service.rpc.jobs, operator.session

    @rpc.list.handle
    async def list_all(_context: RpcContext, request: JobsListRequest) -> JobsListResponse:
        states = states_named(request.state or ())
        wanted = Wanted(request.service, request.type, states, request.since)
        page = await list_wanted(session, wanted, offset=request.offset or 0, limit=request.limit)
        more = {} if page.next_offset is None else {"next_offset": page.next_offset}
        return JobsListResponse(
            entries=page.entries, count=page.count, offset=page.offset, limit=page.limit, **more
        )

    @rpc.list_dlq.handle
    async def list_dead(_context: RpcContext, request: JobsListDLQRequest) -> JobsListDLQResponse:
        wanted = Wanted(request.service, request.type, _DEAD, request.since)
        page = await list_wanted(session, wanted, offset=request.offset or 0, limit=request.limit)
        more = {} if page.next_offset is None else {"next_offset": page.next_offset}
        return JobsListDLQResponse(
            entries=page.entries, count=page.count, offset=page.offset, limit=page.limit, **more
        )


def _serve_get(service: TrellisJobsService, operator: Operator) -> None:
    session = operator.session

    @service.rpc.jobs.get.handle
    async def get(context: RpcContext, request: JobsGetRequest) -> JobsGetResponse:
        try:
            place = await session.find(request.id)
        except JobNotFound:
            raise not_found(request.id) from None
        except AmbiguousJob as error:
            raise ValidationError(str(error), [("/id", str(error))]) from None
        revealed = await _reveal(_acting(operator, context), place, context)
        job = await read_job(session.connection, place.prefix, place.id, with_logs=True, revealed=revealed)
        if job is None:
            raise not_found(request.id)
        return JobsGetResponse(job=job)


async def _reveal(operator: Operator, place: JobPlace, context: RpcContext) -> Revealed | None:
    """Return the values of a job, once the audit log says that they are asked for; None if it cannot, or they are gone."""
    try:
        return await operator.reveal(f"{place.prefix}.{place.id}", reason=f"request {context.request_id}")
    except (AdminResourceMissing, JobNotFound):
        return None


def _serve_steering(service: TrellisJobsService, operator: Operator) -> None:
    rpc = service.rpc.jobs

    async def act(context: RpcContext, action: JobAction, job_id: str) -> Job:
        return await steer(_acting(operator, context), action, job_id)

    @rpc.cancel.handle
    async def cancel(context: RpcContext, request: JobsCancelRequest) -> JobsCancelResponse:
        return JobsCancelResponse(job=await act(context, CANCEL, request.id))

    @rpc.retry.handle
    async def retry(context: RpcContext, request: JobsRetryRequest) -> JobsRetryResponse:
        return JobsRetryResponse(job=await act(context, RETRY, request.id))

    @rpc.replay_dlq.handle
    async def replay(context: RpcContext, request: JobsReplayDLQRequest) -> JobsReplayDLQResponse:
        return JobsReplayDLQResponse(job=await act(context, REPLAY, request.id))

    @rpc.dismiss_dlq.handle
    async def dismiss(context: RpcContext, request: JobsDismissDLQRequest) -> JobsDismissDLQResponse:
        return JobsDismissDLQResponse(job=await act(context, DISMISS, request.id))


def _acting(operator: Operator, context: RpcContext) -> Operator:
    """Return what acts in the name of a caller, where callers are checked."""
    return operator if context.caller is None else operator.acting_as(context.caller.name)


def _to_key(request: JobsGetKeyRequest, stored: StoredKey, at: datetime) -> JobsGetKeyResponse:
    """Return a key as the wire has it."""
    return JobsGetKeyResponse(
        service=request.service,
        type=request.type,
        key=stored.key,
        key_hash=stored.key_hash,
        active=[
            JobsGetKeyResponseActiveItem(
                job_id=holder.job_id,
                instance_id=holder.worker,
                started_at=holder.since,
                heartbeat_at=holder.renewed_at,
                heartbeat_age_ms=max(to_milliseconds(at - holder.renewed_at), 0),
                lease_expires_at=holder.expires_at,
            )
            for holder in stored.holders
        ],
        queued=[
            JobsGetKeyResponseQueuedItem(job_id=waiting.job_id, created_at=waiting.since)
            for waiting in stored.waiting
        ],
        queued_depth=len(stored.waiting),
        stale_takeover_count=stored.takeovers,
    )
