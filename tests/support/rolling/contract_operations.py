"""Changes of operations between two versions of a contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from pydantic import JsonValue
from trellis_nats import Client, Service
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.rolling.contract_calls import problem_of
from tests.support.rolling.contract_cases import RECORD, ContractCase, Seen
from tests.support.rolling.deliveries import IMPATIENT, SOON
from tests.support.rolling.versions import Version, Versions, has, member
from tests.support.rule_contracts import JsonObject
from trellis_codegen.breaking.rules.grades import Column

__all__ = ["OPERATION_CASES"]

_RUN: Final = "Run"
_CONTENT: Final = b"content"
Handler = Callable[[Any], Awaitable[Any]]  # Any: each version has its own types


@asynccontextmanager
async def _serving(version: Version, url: str, handler: Handler) -> AsyncGenerator[Service]:
    """Run a service, with the operation if its version has it."""
    async with version.service.connect(url, options=IMPATIENT) as service:
        if has(service, "operations", _RUN):
            member(service, "operations", _RUN).handle(resume="run-again")(handler)
        await service.start()
        yield service


async def _answer(operation: Any) -> Any:  # Any: each version has its own types
    return operation.input


class _Blocked:
    """A handler that works until its process stops."""

    def __init__(self) -> None:
        self.begun: set[str] = set()

    async def run(self, operation: Any) -> Any:  # Any: each version has its own types
        self.begun.add(operation.id)
        await operation.cancelled.wait()
        return operation.input


async def move(it: Versions) -> Seen:
    """Let old callers start and look at operations, and the new service go on with what an old instance leaves."""
    async with NatsServer() as server, it.old.client.connect(server.url, options=IMPATIENT) as client:
        blocked = _Blocked()
        async with _serving(it.old, server.url, blocked.run):
            run = await member(client, "operations", _RUN).start(it.old.read("R", RECORD))
            await eventually(lambda: run.id in blocked.begun, within=SOON)
        taken: list[str] = []

        async def take(operation: Any) -> Any:  # Any: likewise
            taken.append(operation.id)
            return operation.input

        async with _serving(it.new, server.url, take):
            started = await problem_of(_start(client, it.old))
            looked = await problem_of(run.get())
            left = None if run.id in taken else "no process goes on with it"
    return {Column.PRODUCERS: started, Column.CALLERS: looked, Column.STORED: left}


async def _start(client: Client, version: Version) -> None:
    run = await member(client, "operations", _RUN).start(version.read("R", RECORD))
    await run.result(timeout=SOON)


async def cancel(it: Versions) -> Seen:
    """Let an old caller cancel an operation that the new service runs."""
    blocked = _Blocked()
    async with (
        NatsServer() as server,
        it.old.client.connect(server.url, options=IMPATIENT) as client,
        _serving(it.new, server.url, blocked.run),
    ):
        run = await member(client, "operations", _RUN).start(it.old.read("R", RECORD))
        return {Column.PRODUCERS: await problem_of(run.cancel())}


async def signal(it: Versions) -> Seen:
    """Let an old caller send a signal to the new service, and the new service go on with one that was accepted."""
    record = it.old.read("R", RECORD)
    blocked = _Blocked()
    async with NatsServer() as server, it.old.client.connect(server.url, options=IMPATIENT) as client:
        async with _serving(it.old, server.url, blocked.run):
            run = await member(client, "operations", _RUN).start(record)
            await eventually(lambda: run.id in blocked.begun, within=SOON)
            await run.signal.pause(record)
        received: list[object] = []

        async def receive(operation: Any) -> Any:  # Any: each version has its own types
            if operation.id == run.id:
                async with asyncio.timeout(1):
                    received.append(await anext(operation.signals()))
            return operation.input

        async with _serving(it.new, server.url, receive):
            await problem_of(run.result(timeout=SOON))
            other = await member(client, "operations", _RUN).start(record)
            sent = await problem_of(other.signal.pause(record))
    return {
        Column.PRODUCERS: sent,
        Column.STORED: None if received else "the accepted signal does not arrive",
    }


async def watch(it: Versions) -> Seen:
    """Let an old caller watch the progress of an operation that the new service runs."""
    reports = it.new.manifest.operations is not None and it.new.manifest.operations[_RUN].progress is not None

    async def report(operation: Any) -> Any:  # Any: each version has its own types
        if reports:
            await operation.progress(operation.input)
        return operation.input

    async with (
        NatsServer() as server,
        it.old.client.connect(server.url, options=IMPATIENT) as client,
        _serving(it.new, server.url, report),
    ):
        run = await member(client, "operations", _RUN).start(it.old.read("R", RECORD))
        seen = [update.snapshot.progress async for update in run.watch()]
    return {Column.CALLERS: None if any(seen) else "no progress is reported"}


async def upload(it: Versions) -> Seen:
    """Let an old caller upload to the new service, and the new service go on with what was uploaded before."""

    async def keep(operation: Any) -> Any:  # Any: each version has its own types
        await operation.upload
        return operation.input

    async with NatsServer() as server, AsyncExitStack() as stack:
        client = await stack.enter_async_context(it.old.client.connect(server.url, options=IMPATIENT))
        async with _serving(it.old, server.url, keep if _uploads(it.old) else _answer):
            await _upload(client, it.old)
        service = await stack.enter_async_context(
            _serving(it.new, server.url, keep if _uploads(it.new) else _answer)
        )
        stored = await _find_upload(service, it)
        return {Column.PRODUCERS: await problem_of(_upload(client, it.old)), Column.STORED: stored}


async def _upload(client: Client, version: Version) -> None:
    content = {"upload": _CONTENT} if _uploads(version) else {}
    run = await member(client, "operations", _RUN).start(version.read("R", RECORD), **content)
    await run.result(timeout=SOON)


def _uploads(version: Version) -> bool:
    operations = version.manifest.operations or {}
    return operations[_RUN].transfer is not None


async def _find_upload(service: Service, it: Versions) -> str | None:
    """Return what is wrong with the file of an old upload, where the new version looks for it."""
    before = (it.old.manifest.operations or {})[_RUN].transfer
    after = (it.new.manifest.operations or {})[_RUN].transfer
    if before is None:
        return None
    if after is None:
        return "no operation of this version reads it"
    key = str(RECORD[after.key.removeprefix("/")])
    found = await member(service, "stores", after.store).get(key)
    return None if found is not None else f"there is no file {key} in store {after.store}"


def _operation(**fields: JsonValue) -> JsonObject:
    call: JsonObject = {
        "version": "v1",
        "subject": "operations.v1.Run",
        "input": {"schema": "R"},
        "output": {"schema": "R"},
        **fields,
    }
    store: JsonObject = {"purpose": "Files."}
    return {"operations": {_RUN: call}, "resources": {"store": {"a": store, "b": store}}}


_TRANSFER: Final[JsonObject] = {"direction": "send", "store": "a", "key": "/file", "expiresInMs": 1_000}

OPERATION_CASES: Final = (
    ContractCase(rule="OPERATION_REMOVED", scenario=move),
    ContractCase(rule="OPERATION_SUBJECT_CHANGED", scenario=move),
    ContractCase(rule="OPERATION_CANCEL_REMOVED", scenario=cancel),
    ContractCase(rule="OPERATION_SIGNAL_REMOVED", scenario=signal),
    ContractCase(rule="OPERATION_PROGRESS_REMOVED", scenario=watch),
    ContractCase(
        rule="OPERATION_TRANSFER_CHANGED",
        scenario=upload,
        pair=(_operation(transfer=_TRANSFER), _operation()),
    ),
    ContractCase(rule="OPERATION_TRANSFER_CHANGED", name="another store", scenario=upload),
    ContractCase(
        rule="OPERATION_TRANSFER_CHANGED",
        name="it is new",
        scenario=upload,
        pair=(_operation(), _operation(transfer=_TRANSFER)),
    ),
)
"""What is driven of the rules about operations."""
