"""Reads what a server has, and applies planned changes to it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

from pydantic import JsonValue

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import JsonObject
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.streams import (
    create_consumer,
    create_stream,
    get_consumer_info,
    get_stream_info,
    update_consumer,
    update_stream,
)
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import now
from trellis_nats.contract import Contract
from trellis_nats.errors import ApiError, PermissionDenied
from trellis_nats.provision.changes import (
    Change,
    Creation,
    Refusal,
    ServerState,
    Setting,
    Update,
    plan_changes,
)
from trellis_nats.provision.plan import BATCHES_SINCE, Plan, consumer_config, plan, stream_config
from trellis_nats.provision.requirements import ConsumerRequirement, Requirement, StreamRequirement
from trellis_nats.provision.revision import stamp

__all__ = ["Applied", "apply_changes", "read_state", "update_existing"]

_log = logging.getLogger(__name__)

_DUPLICATE_WINDOW: Final = "duplicate_window"


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """What became of one change."""

    change: Change
    done: bool
    """Whether everything that the change states is so now."""
    reason: str = ""
    """Why not."""


async def read_state(connection: Connection, wanted: Plan) -> ServerState:
    """Return what the server has of what is wanted.

    Raises:
        PermissionDenied: the account may not look something up.
        TransportError: NATS did not answer.
    """
    streams: dict[str, Mapping[str, JsonValue]] = {}
    consumers: dict[tuple[str, str], ConsumerInfo] = {}
    version = connection.server_version
    for stream in wanted.streams:
        if version >= stream.since and (found := await get_stream_info(connection, stream.name)) is not None:
            streams[stream.name] = cast("JsonObject", found.get("config") or {})
    for consumer in wanted.consumers:
        if version < consumer.since or consumer.stream not in streams:
            continue
        info = await get_consumer_info(connection, consumer.stream, consumer.name)
        if info is not None:
            consumers[consumer.stream, consumer.name] = info
    return ServerState(version, streams, consumers)


async def apply_changes(
    connection: Connection,
    changes: Iterable[Change],
    contract: Contract,
    *,
    replicas: int = 1,
    max_bytes: int | None = None,
    allow_destroy: bool = False,
) -> list[Applied]:
    """Apply changes in order, and return what became of each. What one cannot do does not stop the others.

    `sources` of a stream are never changed: that would deliver acknowledged jobs again.

    Args:
        connection: the connection.
        changes: what `plan_changes` returned.
        contract: what the resources follow from then on.
        replicas: those of a stream that is created.
        max_bytes: the limit of a stream that is created.
        allow_destroy: whether to apply destructive settings too. Without it they are left, and the others applied.

    Raises:
        TransportError: NATS did not answer; what was applied until then stays applied.
    """
    applied: list[Applied] = []
    for change in changes:
        try:
            match change:
                case Creation():
                    await _create(connection, change, contract, replicas=replicas, max_bytes=max_bytes)
                    reason = ""
                case Refusal():
                    reason = "; ".join(change.problems)
                case Update():
                    reason = await _apply_update(connection, change, contract, allow_destroy=allow_destroy)
        except ApiError as error:
            reason = f"the server refused: {error.description}"
        except PermissionDenied as denial:
            reason = str(denial)
        applied.append(Applied(change=change, done=not reason, reason=reason))
    return applied


async def _create(
    connection: Connection, creation: Creation, contract: Contract, *, replicas: int, max_bytes: int | None
) -> None:
    wanted = creation.requirement
    if isinstance(wanted, ConsumerRequirement):
        await create_consumer(connection, wanted.stream, consumer_config(wanted, contract))
        return
    has_batches = connection.server_version >= BATCHES_SINCE
    config = stream_config(
        wanted, replicas=replicas, has_batches=has_batches, max_bytes=max_bytes, contract=contract
    )
    await create_stream(connection, config)


async def _apply_update(
    connection: Connection, update: Update, contract: Contract, *, allow_destroy: bool
) -> str:
    """Apply the settings that may be applied. Return why some are left; empty when none is."""
    chosen = [
        setting
        for setting in update.settings
        if not setting.is_fixed and (allow_destroy or not setting.is_destructive)
    ]
    left = [setting for setting in update.settings if setting not in chosen]
    match update.requirement:
        case StreamRequirement(name=name):
            found = await get_stream_info(connection, name)
            if found is None:
                return "it was deleted meanwhile"
            config = cast("JsonObject", found.get("config") or {})
            await update_stream(connection, _changed_stream(config, chosen, contract))
        case ConsumerRequirement(stream=stream, name=name):
            info = await get_consumer_info(connection, stream, name)
            if info is None:
                return "it was deleted meanwhile"
            await update_consumer(connection, stream, _changed_consumer(info, chosen, contract))
    return "; ".join(_why_left(setting) for setting in left)


def _why_left(setting: Setting) -> str:
    why = "the server cannot change it" if setting.is_fixed else "it is destructive (allow_destroy)"
    return f"{setting.name} stays {setting.have}: {why}"


def _changed_stream(config: JsonObject, settings: list[Setting], contract: Contract) -> JsonObject:
    changed: JsonObject = {**config, **{setting.name: setting.value for setting in settings}}
    age, window = changed.get("max_age"), changed.get(_DUPLICATE_WINDOW)
    if isinstance(age, int) and isinstance(window, int) and 0 < age < window:
        changed[_DUPLICATE_WINDOW] = age  # a server refuses a window that is longer than the age
    changed["metadata"] = stamp(config, contract, now())
    return changed


def _changed_consumer(info: ConsumerInfo, settings: list[Setting], contract: Contract) -> JsonObject:
    changed: JsonObject = {**info.config}
    for setting in settings:
        if setting.value is None:
            changed.pop(setting.name, None)
        elif setting.name != "filter_subjects":
            changed[setting.name] = setting.value
        else:
            filters = cast("list[JsonValue]", setting.value)
            del changed["filter_subject" if "filter_subject" in changed else "filter_subjects"]
            changed.update(
                {"filter_subject": filters[0]} if len(filters) == 1 else {"filter_subjects": filters}
            )
    changed["metadata"] = stamp(info.config, contract, now())
    return changed


async def update_existing(
    connection: Connection, requirements: Iterable[Requirement], contract: Contract
) -> None:
    """Give what exists the settings of a contract, where it is newer than the one that the resource follows.

    Nothing destructive is applied, and nothing that correctness depends on. What is left is logged when it is verified.

    Raises:
        TransportError: NATS did not answer.
    """
    wanted = plan(requirements)
    try:
        state = await read_state(connection, wanted)
    except PermissionDenied as denial:
        _log.info(
            "settings are not updated: %s",
            denial,
            extra=log_fields(LogEvent.RESOURCE_UNAVAILABLE),
        )
        return
    updates = [
        replace(change, settings=tuple(setting for setting in change.settings if setting.is_tolerated))
        for change in plan_changes(wanted, state, contract)
        if isinstance(change, Update) and change.relation in {"newer", "unmarked"}
    ]
    for applied in await apply_changes(connection, updates, contract):
        _log_applied(cast("Update", applied.change), applied)


def _log_applied(update: Update, applied: Applied) -> None:
    extra = log_fields(LogEvent.RESOURCE_UPDATED)
    if applied.done:
        settings = ", ".join(
            f"{setting.name} is {setting.want}, was {setting.have}" for setting in update.settings
        )
        text = "updated %s to this version of the contract: %s"
        _log.info(text, update.title, settings or "only marked", extra=extra)
    else:
        _log.warning("%s is not updated completely: %s", update.title, applied.reason, extra=extra)
