"""Changes of events and of their consumer groups between two versions of a contract."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from trellis_admin.provisioning import apply_service
from trellis_nats import DeliveredEvent, Service
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.rolling.contract_calls import problem_of
from tests.support.rolling.contract_cases import RECORD, ContractCase, Seen
from tests.support.rolling.deliveries import IMPATIENT, SOON
from tests.support.rolling.kept import is_quiet
from tests.support.rolling.versions import Version, Versions, has, member, runtime_of
from tests.support.rule_contracts import JsonObject
from trellis_codegen.breaking.rules.grades import Column

__all__ = ["EVENT_CASES"]

_EVENTS: Final = ("A", "B")
_GROUPS: Final = ("audit", "ledger")


async def listen(it: Versions) -> Seen:
    """Let old subscribers listen to the new publisher, and start the groups of the new version next to the old ones."""
    async with NatsServer() as server, AsyncExitStack() as stack:
        await stack.enter_async_context(_handling(it.old, server.url, []))
        refused = await problem_of(_start(it.new, server.url))
    return {Column.LISTENERS: await _subscribe(it), Column.OPERATORS: refused}


async def _start(version: Version, url: str) -> None:
    async with _handling(version, url, []):
        pass


async def _subscribe(it: Versions) -> str | None:
    async with (
        NatsServer() as server,
        it.old.client.connect(server.url, options=IMPATIENT) as client,
        it.new.service.connect(server.url, options=IMPATIENT) as publisher,
    ):
        async with member(client, "events", "A").subscribe() as events:
            await _publish(publisher, it.new, "A")
            await runtime_of(client).connection.flush()
        received = [event async for event in events]
    return None if received else "no event arrives at old subscribers"


async def _publish(publisher: Service, version: Version, name: str) -> None:
    if has(publisher, "events", name):
        await member(publisher, "events", name).publish(version.read("R", RECORD))


@asynccontextmanager
async def _handling(version: Version, url: str, handled: list[str]) -> AsyncGenerator[Service]:
    """Run the groups of a version, which note the events that they handle."""

    def register(service: Service, group: str, event: str) -> None:
        async def handle(delivered: DeliveredEvent[Any]) -> None:  # Any: each version has its own types
            handled.append(event)

        if has(service, "consumers", group, event):
            member(service, "consumers", group, event).handle(handle)

    async with version.service.connect(url, options=IMPATIENT) as service:
        for group in _GROUPS:
            for event in _EVENTS:
                register(service, group, event)
        await service.start()
        yield service


async def leave_backlog(it: Versions) -> Seen:
    """Let the new version find what an old group has not handled."""
    handled: list[str] = []
    async with NatsServer() as server:
        async with it.old.service.connect(server.url, options=IMPATIENT) as publisher:
            for name in _list_events(it.old):
                await _publish(publisher, it.old, name)
        async with _handling(it.new, server.url, handled) as service:
            connection = runtime_of(service).connection
            if not it.new.manifest.event_consumers:
                left = not await is_quiet(connection)
                return {
                    Column.STORED: "no process handles the backlog" if left else None,
                    Column.OPERATORS: "its consumer is there, with the backlog" if left else None,
                }
            if it.old.manifest.event_consumers and _is_renamed(it):
                await eventually(lambda: _is_started(service), within=SOON)
                return {Column.STORED: None if handled else "no process handles the backlog"}
            await eventually(lambda: "A" in handled, within=SOON)
    return {Column.STORED: None if sorted(handled) == _list_events(it.old) else "B has no handler"}


def _list_events(version: Version) -> list[str]:
    groups = (version.manifest.event_consumers or {}).values()
    return sorted({event for group in groups for event in group.self_events or []})


def _is_renamed(it: Versions) -> bool:
    return {*(it.old.manifest.event_consumers or {})} != {*(it.new.manifest.event_consumers or {})}


async def _is_started(service: Service) -> bool:
    return (await service.health.report()).ready


async def add_event(it: Versions) -> Seen:
    """Start the new version next to the old one, and publish the event to old instances once it is applied."""
    async with NatsServer() as server, AsyncExitStack() as stack:
        await stack.enter_async_context(_handling(it.old, server.url, []))
        refused = await problem_of(_start(it.new, server.url))
        assert (await apply_service(it.new.service, server.url, IMPATIENT, allow_destroy=False)).is_done
        publisher = await stack.enter_async_context(it.new.service.connect(server.url, options=IMPATIENT))
        with LogSignals() as signals:
            await _publish(publisher, it.new, "B")
            postponed = await signals.wait_for(LogEvent.EVENT_POSTPONED)
    return {Column.OPERATORS: refused, Column.OLD_WORKERS: postponed.getMessage()}


def _published(version: str, *groups: str) -> JsonObject:
    event: JsonObject = {"version": version, "subject": f"events.{version}.A", "event": {"schema": "R"}}
    listed: JsonObject = {name: {"self": ["A"]} for name in groups}
    return {"events": {"A": event}, **({"eventConsumers": listed} if groups else {})}


EVENT_CASES: Final = (
    ContractCase(rule="EVENT_REMOVED", scenario=listen),
    ContractCase(rule="EVENT_SUBJECT_CHANGED", scenario=listen),
    ContractCase(
        rule="EVENT_SUBJECT_CHANGED",
        name="of a group",
        scenario=listen,
        pair=(_published("v1", "audit"), _published("v2", "audit")),
    ),
    ContractCase(rule="EVENT_PARAMS_CHANGED", scenario=listen),
    ContractCase(rule="GROUP_REMOVED", scenario=leave_backlog),
    ContractCase(rule="GROUP_RENAMED", scenario=leave_backlog),
    ContractCase(rule="GROUP_EVENT_REMOVED", scenario=leave_backlog),
    ContractCase(rule="GROUP_EVENT_ADDED", scenario=add_event),
    ContractCase(rule="GROUP_REPLAY_CHANGED", scenario=leave_backlog),
)
"""What is driven of the rules about events and groups."""
