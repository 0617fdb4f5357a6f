"""Changes of RPCs, their errors and feeds between two versions of a contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from typing import Any, Final

from pydantic import JsonValue
from trellis_nats import (
    Client,
    Credentials,
    DeclaredError,
    FeedContext,
    RpcContext,
    RpcError,
    Service,
    permissions,
)
from trellis_nats.testing import NatsServer

from tests.support.depot import accounts
from tests.support.rolling.contract_cases import RECORD, ContractCase, Seen
from tests.support.rolling.deliveries import IMPATIENT, SOON
from tests.support.rolling.versions import Version, Versions, has, member
from tests.support.rule_contracts import JsonObject
from trellis_codegen.breaking.rules.grades import Column

__all__ = ["CALL_CASES", "problem_of"]

_RPC: Final = "Get"
_FEED: Final = "Live"


async def problem_of(asking: Awaitable[object]) -> str | None:
    """Return what asking raises; None if it returns."""
    try:
        await asyncio.wait_for(asking, SOON.total_seconds())
    except Exception as error:  # noqa: BLE001 - it is what the test is about
        return f"{type(error).__name__}: {error}"
    return None


async def call_both(it: Versions) -> Seen:
    """Let old callers call the new service, and new callers an old instance."""
    return {
        Column.PRODUCERS: await _call(it.old, it.new),
        Column.CALLERS: await _call(it.new, it.old) if _calls_the_same(it) else None,
    }


def _calls_the_same(it: Versions) -> bool:
    """Return whether the new version asks where the old one answers; a new subject is a new RPC."""
    old, new = ((version.manifest.rpc or {}).get(_RPC) for version in (it.old, it.new))
    return old is not None and new is not None and old.subject == new.subject


async def _call(caller: Version, serving: Version) -> str | None:
    async with (
        NatsServer() as server,
        serving.service.connect(server.url, options=IMPATIENT) as service,
        caller.client.connect(server.url, options=IMPATIENT) as client,
    ):
        if has(service, "rpc", _RPC):
            member(service, "rpc", _RPC).handle(_handler_of(service))
        await service.start()
        return await problem_of(member(client, "rpc", _RPC)(caller.read("R", RECORD)))


def _handler_of(service: Service) -> object:
    async def answer(context: RpcContext, request: Any) -> Any:  # Any: each version has its own types
        return request

    async def grant(context: RpcContext, request: Any) -> Any:  # Any: likewise
        store = member(service, "stores", "s")
        await store.put("file", b"content")
        return await store.get("file")

    return grant if has(service, "stores", "s") else answer


async def call_with_rights(it: Versions) -> Seen:
    """Let old callers call the new service, with the rights that its package gives to a client; and import it."""
    rights = permissions(it.new.client, "client")
    options = replace(IMPATIENT, credentials=Credentials(user="client", password="client"))  # noqa: S106
    root = replace(IMPATIENT, credentials=Credentials(user="root", password="root"))  # noqa: S106
    async with (
        NatsServer(config=accounts({"root": None, "client": rights})) as server,
        it.new.service.connect(server.url, options=root) as service,
        it.old.client.connect(server.url, options=options) as client,
    ):
        member(service, "rpc", _RPC).handle(_handler_of(service))
        await service.start()
        denied = await problem_of(member(client, "rpc", _RPC)(it.old.read("R", RECORD)))
        async with it.new.client.connect(server.url, options=options) as imported:
            known = has(imported, "rpc", _RPC)
    return {Column.PRODUCERS: denied, Column.IMPORTERS: None if known else "the client has no such call"}


async def catch_error(it: Versions) -> Seen:
    """Let a caller of each version catch, by its class, the error that the other version raises."""
    return {
        Column.PRODUCERS: None,
        Column.CALLERS: await _catch(it.old, it.new) or await _catch_spared(it),
    }


async def _catch_spared(it: Versions) -> str | None:
    """Return what a new caller meets at an old instance, which raises an error that the new version may not have."""
    if _error_of(it.new) is None:
        return None
    return await _catch(it.new, it.old) if _name_of(it.new) == _name_of(it.old) else None


async def _catch(caller: Version, serving: Version) -> str | None:
    raised, caught = _error_of(serving), _error_of(caller)

    async def refuse(context: RpcContext, request: Any) -> Any:  # Any: each version has its own types
        if raised is not None:
            raise _build(raised)
        return request

    async with (
        NatsServer() as server,
        serving.service.connect(server.url, options=IMPATIENT) as service,
        caller.client.connect(server.url, options=IMPATIENT) as client,
    ):
        member(service, "rpc", _RPC).handle(refuse)
        await service.start()
        try:
            await member(client, "rpc", _RPC)(caller.read("R", RECORD))
        except RpcError as error:
            if caught is None or not isinstance(error, caught):
                return f"{type(error).__name__}: {error}"
            return None if _has_data(error, caller) else f"no data: {error!r}"
    return None


def _name_of(version: Version) -> str | None:
    return next((name for name in version.manifest.errors or {}), None)


def _error_of(version: Version) -> type[DeclaredError] | None:
    """Return the class of the error that a contract declares."""
    for value in vars(version.package).values():
        if isinstance(value, type) and issubclass(value, DeclaredError) and value is not DeclaredError:
            return value
    return None


def _build(error: type[DeclaredError]) -> DeclaredError:
    fields = {name: value for name, value in RECORD.items() if name != "id"}  # each error has an id
    return error("no", **(fields if error.data_type is not None else {}))


def _has_data(error: Exception, version: Version) -> bool:
    declared = _error_of(version)
    wants = declared is not None and declared.data_type is not None
    return not wants or getattr(error, "origin", None) == RECORD["origin"]


async def open_feed(it: Versions) -> Seen:
    """Let old listeners open a feed of the new service."""

    async def serve(
        context: FeedContext, request: Any
    ) -> AsyncIterator[Any]:  # Any: each version has its own types
        yield request

    async def listen(client: Client) -> None:
        async with member(client, "feeds", _FEED)(it.old.read("R", RECORD)) as events:
            assert [event async for event in events]

    async with (
        NatsServer() as server,
        it.new.service.connect(server.url, options=IMPATIENT) as service,
        it.old.client.connect(server.url, options=IMPATIENT) as client,
    ):
        if has(service, "feeds", _FEED):
            member(service, "feeds", _FEED).handle(serve)
        await service.start()
        return {Column.LISTENERS: await problem_of(listen(client))}


def _rpc(**fields: JsonValue) -> JsonObject:
    call: JsonObject = {
        "version": "v1",
        "subject": "rpc.v1.Get",
        "input": {"schema": "R"},
        "output": {"schema": "R"},
        **fields,
    }
    return {"rpc": {_RPC: call}}


def _failing(*names: str) -> JsonObject:
    """Return an RPC with declared errors."""
    errors: JsonObject = {name: {"type": name} for name in names}
    listed: list[JsonValue] = [{"type": name} for name in names]
    return {**_rpc(errors=listed), "errors": errors}


_STORE: Final[JsonObject] = {"resources": {"store": {"s": {"purpose": "Files."}}}}

CALL_CASES: Final = (
    ContractCase(rule="RPC_REMOVED", scenario=call_both),
    ContractCase(rule="RPC_SUBJECT_CHANGED", scenario=call_both),
    ContractCase(rule="RPC_BECAME_INTERNAL", scenario=call_with_rights),
    ContractCase(
        rule="RPC_TRANSFER_CHANGED",
        scenario=call_both,
        pair=(_rpc(), {**_rpc(transfer={"direction": "receive"}), **_STORE}),
    ),
    ContractCase(rule="RPC_ERROR_ADDED", scenario=catch_error, pair=(_failing(), _failing("NotFound"))),
    ContractCase(rule="RPC_ERROR_REMOVED", scenario=catch_error, pair=(_failing("NotFound"), _failing())),
    ContractCase(rule="ERROR_TYPE_CHANGED", scenario=catch_error),
    ContractCase(rule="ERROR_SCHEMA_ADDED", scenario=catch_error),
    ContractCase(rule="ERROR_SCHEMA_REMOVED", scenario=catch_error),
    ContractCase(rule="FEED_REMOVED", scenario=open_feed),
    ContractCase(rule="FEED_SUBJECT_CHANGED", scenario=open_feed),
)
"""What is driven of the rules about RPCs, errors and feeds."""
