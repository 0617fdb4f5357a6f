"""Looks at what exists, creates what is missing where it may, and tells every problem at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, cast

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import JsonObject
from trellis_nats._nats.jetstream.streams import (
    consumer_info,
    create_consumer,
    create_stream,
    last_message,
    stream_info,
)
from trellis_nats.errors import ApiError, NoResponders, PermissionDenied, ProvisioningError
from trellis_nats.provision.compare import consumer_deviations, consumer_differences, stream_differences
from trellis_nats.provision.plan import ConsumerPlan, StreamPlan, plan
from trellis_nats.provision.requirements import Requirements

__all__ = ["provision"]

_log = logging.getLogger(__name__)

_ATOMIC_SINCE: Final = (2, 12, 0)
_TAKEN: Final = (10058, 10148, 10013)
"""The name is in use: by a stream, by a consumer (2.10 on), by a consumer (older)."""


async def provision(connection: Connection, requirements: Requirements, *, create: bool) -> None:
    """See that everything is there. Several processes may do so at the same time.

    With `create`, what is missing is made. What exists is never altered. An account that may not look streams up, as a
    service's should not, is content with looking its consumers up.

    Raises:
        ProvisioningError: something is missing or differs; it holds a sentence for each.
        RequestTimeout: JetStream does not answer.
        NotConnected: there was no connection within the time for a request.
    """
    wanted = plan(requirements, atomic=connection.server_version >= _ATOMIC_SINCE)
    problems: list[str] = []
    broken: set[str] = set()
    try:
        for stream in wanted.streams:
            found = await _stream_problems(connection, stream, create=create)
            if found:
                broken.add(stream.name)
            problems += found
        for consumer in wanted.consumers:
            if consumer.stream not in broken:
                problems += await _consumer_problems(connection, consumer, create=create)
    except NoResponders:
        problems.append(f"JetStream does not run on {connection.address}, or not for this account")
    if problems:
        raise ProvisioningError(problems)


async def _stream_problems(connection: Connection, wanted: StreamPlan, *, create: bool) -> list[str]:
    what = f'bucket "{wanted.bucket}"' if wanted.bucket is not None else f'stream "{wanted.name}"'
    try:
        info = await stream_info(connection, wanted.name)
    except PermissionDenied:
        return await _bucket_problems(connection, wanted.name, wanted.bucket)
    except ApiError as error:
        return [f"{what} cannot be looked up: {error.description}"]
    if info is not None:
        return stream_differences(wanted, _config(info))
    if not create:
        return [_to_be_made(what)]
    try:
        await create_stream(connection, wanted.config)
    except PermissionDenied as denial:
        return [_not_allowed(what, denial)]
    except ApiError as error:
        info = await stream_info(connection, wanted.name) if error.err_code in _TAKEN else None
        return (
            [f"{what} cannot be created: {error.description}"]
            if info is None
            else stream_differences(wanted, _config(info))
        )
    _log.info("created %s", what)
    return []


async def _bucket_problems(connection: Connection, stream: str, bucket: str | None) -> list[str]:
    """Look for a bucket by reading from it, which needs no right to look streams up."""
    if bucket is None:
        return []
    try:
        await last_message(connection, stream, f"$KV.{bucket}.>")
    except NoResponders:
        return [_to_be_made(f'bucket "{bucket}"')]
    except PermissionDenied:
        return []
    return []


async def _consumer_problems(connection: Connection, wanted: ConsumerPlan, *, create: bool) -> list[str]:
    what = f'consumer "{wanted.name}" of stream "{wanted.stream}"'
    try:
        info = await consumer_info(connection, wanted.stream, wanted.name)
    except PermissionDenied as denial:
        return [f"{what} cannot be looked up: {denial}; an operator must allow that"]
    except ApiError as error:
        return [f"{what} cannot be looked up: {error.description}"]
    if info is not None:
        return _unfit(wanted, _config(info), create=create)
    if not create:
        return [_to_be_made(what)]
    try:
        await create_consumer(connection, wanted.stream, wanted.config)
    except PermissionDenied as denial:
        return [_not_allowed(what, denial)]
    except ApiError as error:
        info = (
            await consumer_info(connection, wanted.stream, wanted.name) if error.err_code in _TAKEN else None
        )
        return (
            [f"{what} cannot be created: {error.description}"]
            if info is None
            else _unfit(wanted, _config(info), create=create)
        )
    _log.info("created %s", what)
    return []


def _unfit(wanted: ConsumerPlan, existing: Mapping[str, object], *, create: bool) -> list[str]:
    """Say why a consumer will not do. Where somebody else provisions, it may be as another runtime makes them."""
    problems, deviations = consumer_differences(wanted, existing), consumer_deviations(wanted, existing)
    if create:
        return problems + deviations
    for each in deviations:
        _log.warning("%s", each)
    return problems


def _config(info: JsonObject) -> Mapping[str, object]:
    return cast("Mapping[str, object]", info.get("config") or {})


def _to_be_made(what: str) -> str:
    return f"{what} does not exist; whoever provisions this server must create it: the control plane or an operator"


def _not_allowed(what: str, denial: PermissionDenied) -> str:
    return f"{what} does not exist, and {denial}; an operator must create it, or start once with an account that may"
