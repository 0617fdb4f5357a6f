"""Looks up what exists, creates what is missing where it may, and reports every problem at once."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final, cast

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import JsonObject
from trellis_nats._nats.jetstream.kv import kv_subject
from trellis_nats._nats.jetstream.streams import (
    create_stream,
    get_last_message,
    get_stream_info,
    update_stream,
)
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.contract import Contract
from trellis_nats.errors import ApiError, NoResponders, PermissionDenied, ProvisioningError
from trellis_nats.provision.compare import stream_deviations, stream_differences, stream_remarks
from trellis_nats.provision.consumers import NAME_IN_USE, create_missing, missing, not_allowed, remedy_of
from trellis_nats.provision.plan import BATCHES_SINCE, plan, stream_config
from trellis_nats.provision.requirements import Requirement, ServerFeature, StreamRequirement

__all__ = ["provision"]

_log = logging.getLogger(__name__)

_LIMIT_REQUIRED: Final = 10113
_NO_ROOM: Final = frozenset([10002, 10047])
"""Of the account, of the server."""


async def provision(
    connection: Connection,
    requirements: Iterable[Requirement],
    *,
    create: bool,
    create_own: bool = False,
    replicas: int = 1,
    max_bytes: int | None = None,
    contract: Contract | None = None,
) -> bool:
    """Make sure that everything required exists. Several processes may do so at the same time.

    With `create`, what is missing is created, on `replicas` servers, each with a limit of `max_bytes`, and marked with the
    `contract` where it follows one; with `create_own`, what no control plane creates. What exists is not altered, except
    that atomic batches are switched on where they are required, and the account may: that is safe, and can be undone. An
    account that may not look up streams, as a worker's may not, verifies its buckets only. What is optional is looked up only
    to create it. So are consumers: only the process that pulls needs one, and verifies it when it starts.

    Returns:
        Whether the account may look up the streams.

    Raises:
        ProvisioningError: something is missing or differs; it has a sentence for each problem.
        ConfigurationError: two surfaces require one stream or consumer in different ways.
        RequestTimeout: JetStream does not answer.
        NotConnected: there was no connection within the time for a request.
    """
    wanted = plan(requirements)
    version = connection.server_version
    problems: list[str] = []
    broken: set[str] = set()
    may_look_up = True
    try:
        for stream in wanted.streams:
            creates = create or (create_own and stream.is_own)
            if version < stream.since or (stream.is_optional and not creates):
                broken.add(stream.name)
                continue
            found = await _stream_problems(
                connection, stream, create=creates, replicas=replicas, max_bytes=max_bytes, contract=contract
            )
            may_look_up = may_look_up and found is not None
            if found or found is None:  # an account without the look-up does not create consumers either
                broken.add(stream.name)
            problems += _required(found or [], is_optional=stream.is_optional)
        for consumer in wanted.consumers if create else ():
            if version >= consumer.since and consumer.stream not in broken:
                _required(await create_missing(connection, consumer, contract), is_optional=True)
    except NoResponders:
        problems.append(
            f"JetStream is not enabled on {connection.address}, or not for this account: start the server with -js, or give the account JetStream; from a leaf node, the hub's is "
            'used with Options(jetstream_domain="…")'
        )
    if problems:
        raise ProvisioningError(problems)
    _warn_of_missing(wanted.features, connection.server_version)
    return may_look_up


def _required(found: list[str], *, is_optional: bool) -> list[str]:
    """Return the problems of what the service needs. Log those of what it can do without."""
    if not is_optional:
        return found
    for problem in found:
        _log.info(
            "not available: %s; the service continues without it",
            problem,
            extra=log_fields(LogEvent.RESOURCE_UNAVAILABLE),
        )
    return []


async def _stream_problems(
    connection: Connection,
    wanted: StreamRequirement,
    *,
    create: bool,
    replicas: int,
    max_bytes: int | None,
    contract: Contract | None,
) -> list[str] | None:
    """Create or verify a stream. Return its problems; None where the account may not look it up."""
    what = wanted.title
    try:
        info = await get_stream_info(connection, wanted.name)
    except PermissionDenied:
        if wanted.bucket is None or wanted.is_optional:
            return None
        return await _bucket_problems(connection, wanted, wanted.bucket)
    except ApiError as error:
        return [f"{what} cannot be looked up: {error.description}"]
    if info is not None:
        existing = _config(info)
        differences = stream_differences(wanted, existing)
        if not differences:
            _log_deviations(wanted, existing, contract)
        await _remark(connection, wanted, existing, create=create)
        return differences
    if not create:
        return [missing(what)]
    has_batches = connection.server_version >= BATCHES_SINCE
    config = stream_config(
        wanted, replicas=replicas, has_batches=has_batches, max_bytes=max_bytes, contract=contract
    )
    try:
        await create_stream(connection, config)
    except PermissionDenied as denial:
        return [not_allowed(what, denial)]
    except ApiError as error:
        info = await get_stream_info(connection, wanted.name) if error.err_code in NAME_IN_USE else None
        return (
            [f"{what} cannot be created: {error.description}{_remedy(error, config)}"]
            if info is None
            else stream_differences(wanted, _config(info))
        )
    _log.info("created %s", what, extra=log_fields(LogEvent.RESOURCE_CREATED, stream=wanted.name))
    return []


def _remedy(error: ApiError, config: JsonObject) -> str:
    reserved = config.get("max_bytes")
    if error.err_code == _LIMIT_REQUIRED:
        return "; set Options(max_bytes=…), which applies to each of them"
    if error.err_code in _NO_ROOM and isinstance(reserved, int):
        return f"; it reserves {reserved:,} bytes: lower that, or give JetStream more storage"
    return ""


def _log_deviations(wanted: StreamRequirement, existing: JsonObject, contract: Contract | None) -> None:
    for deviation in stream_deviations(wanted, existing):
        level, remedy = remedy_of(existing, contract)
        fields = log_fields(LogEvent.STREAM_DEVIATES, stream=wanted.name)
        _log.log(level, "%s; %s", deviation, remedy, extra=fields)


async def _remark(
    connection: Connection, wanted: StreamRequirement, existing: JsonObject, *, create: bool
) -> None:
    """Log where an existing stream is usable at a price, and switch on atomic batches where the account may."""
    for remark in stream_remarks(wanted, existing):
        level = logging.INFO if existing.get("discard") == "new" else logging.WARNING
        _log.log(level, "%s", remark, extra=log_fields(LogEvent.STREAM_DEVIATES, stream=wanted.name))
    can_batch = wanted.has_batches and connection.server_version >= BATCHES_SINCE
    if can_batch and existing.get("allow_atomic") is not True:
        try:
            if create:
                await update_stream(connection, {**existing, "allow_atomic": True})
                _log.info(
                    'stream "%s": switched on atomic batches',
                    wanted.name,
                    extra=log_fields(LogEvent.STREAM_UPDATED, stream=wanted.name),
                )
                return
            denial = "the control plane or an operator must switch them on"
        except (ApiError, PermissionDenied) as error:
            denial = f"they cannot be switched on: {error}"
        _log.warning(
            'stream "%s" has no atomic batches (allow_atomic), so that many jobs are stored one by one, and an error '
            "may leave some of them stored; %s",
            wanted.name,
            denial,
            extra=log_fields(LogEvent.STREAM_DEVIATES, stream=wanted.name),
        )


async def _bucket_problems(connection: Connection, wanted: StreamRequirement, bucket: str) -> list[str]:
    """Look for a bucket by reading from it, which needs no permission to look up streams."""
    try:
        await get_last_message(connection, wanted.name, kv_subject(bucket))
    except NoResponders:
        what = f'bucket "{bucket}" does not exist, or does not allow direct reads (allow_direct)'
        return [f"{what}; the control plane or an operator must create it, or allow them"]
    except PermissionDenied:
        return []
    return []


def _warn_of_missing(features: Iterable[ServerFeature], server_version: tuple[int, ...]) -> None:
    for feature in features:
        if server_version < feature.since:
            _log.warning(
                "nats-server %s %s",
                ".".join(map(str, server_version)),
                feature.price,
                extra=log_fields(LogEvent.SERVER_OUTDATED),
            )


def _config(info: JsonObject) -> JsonObject:
    return cast("JsonObject", info.get("config") or {})
