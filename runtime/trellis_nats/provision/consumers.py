"""Creates missing consumers, and verifies the one that a process is about to pull from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.streams import create_consumer, get_consumer_info
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.contract import Contract
from trellis_nats.errors import ApiError, PermissionDenied, ProvisioningError
from trellis_nats.provision.compare import (
    compare_consumer,
    consumer_deviations,
    foreign_traits,
    is_as_platform,
)
from trellis_nats.provision.plan import consumer_config
from trellis_nats.provision.requirements import ConsumerRequirement
from trellis_nats.provision.revision import relate

__all__ = [
    "NAME_IN_USE",
    "create_missing",
    "log_oddities",
    "missing",
    "not_allowed",
    "remedy_of",
    "require_consumer",
]

_log = logging.getLogger(__name__)

NAME_IN_USE: Final = (10058, 10148, 10013)
"""The error codes for a name in use: by a stream, by a consumer (2.10 on), by a consumer (older)."""


async def require_consumer(
    connection: Connection,
    wanted: ConsumerRequirement,
    *,
    create: bool,
    contract: Contract | None = None,
) -> ConsumerInfo:
    """Return the server's report about a consumer that this process pulls from. Log what it has otherwise.

    With `create`, this runtime owns the consumer: it is created if it is missing, and one with a backoff or a limit of
    deliveries is refused.

    Raises:
        ProvisioningError: it does not exist, or pulling from it would break correctness; every problem is named.
        TransportError: NATS did not answer.
    """
    problems = await create_missing(connection, wanted, contract) if create else []
    info = None if problems else await get_consumer_info(connection, wanted.stream, wanted.name)
    if info is None:
        raise ProvisioningError(problems or [missing(wanted.title)])
    problems, oddities = compare_consumer(wanted, info)
    if create:
        traits = foreign_traits(wanted, info.config)
        problems += traits
        oddities = [text for text in oddities if text not in traits]
    if problems:
        raise ProvisioningError(problems)
    log_oddities(wanted, info, oddities, contract)
    return info


def log_oddities(
    wanted: ConsumerRequirement, info: ConsumerInfo, oddities: list[str], contract: Contract | None = None
) -> None:
    """Log what a usable consumer has otherwise than required."""
    stated = consumer_deviations(wanted, info.config)
    level = logging.INFO if is_as_platform(wanted, info.config) else logging.WARNING
    for oddity in oddities:
        fields = log_fields(LogEvent.CONSUMER_DEVIATES, stream=wanted.stream, consumer=wanted.name)
        if oddity in stated:
            stated_level, remedy = remedy_of(info.config, contract)
            _log.log(stated_level, "%s; %s", oddity, remedy, extra=fields)
        else:
            _log.log(level, "%s", oddity, extra=fields)


def remedy_of(config: Mapping[str, object], contract: Contract | None) -> tuple[int, str]:
    """Return the level at which to log that a resource has other settings, and what follows from it."""
    if contract is not None and relate(config, contract) == "older":
        return logging.INFO, "a newer version set it, and it is used as it is"
    return (
        logging.WARNING,
        'it is used as it is; to change it: "trellis provision apply", or Options(provision="update")',
    )


async def create_missing(
    connection: Connection, wanted: ConsumerRequirement, contract: Contract | None = None
) -> list[str]:
    """Create a consumer unless it exists, marked with the contract. Return why that is not possible."""
    what = wanted.title
    try:
        if await get_consumer_info(connection, wanted.stream, wanted.name) is not None:
            return []
        await create_consumer(connection, wanted.stream, consumer_config(wanted, contract))
    except PermissionDenied as denial:
        if "CONSUMER.INFO" in denial.subject:
            return [f"{what} cannot be looked up: {denial}; an operator must allow it"]
        return [not_allowed(what, denial)]
    except ApiError as error:
        if error.err_code in NAME_IN_USE:
            return []  # another process was faster
        return [f"{what} cannot be created: {error.description}"]
    _log.info(
        "created %s",
        what,
        extra=log_fields(LogEvent.RESOURCE_CREATED, stream=wanted.stream, consumer=wanted.name),
    )
    return []


def missing(what: str) -> str:
    """Return the sentence about something that does not exist, and that this process may not create."""
    return f"{what} does not exist; the control plane or an operator must create it"


def not_allowed(what: str, denial: PermissionDenied) -> str:
    """Return the sentence about something that does not exist, and that the account may not create."""
    return (
        f"{what} does not exist, and {denial}; an operator must create it, or start the service once with an account "
        "that may"
    )
