"""A small service with one of each surface that is called, each with a capability, as trellis-gen would write it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import ClassVar, Final, Never

from trellis_nats import (
    RUNTIME_API,
    ActiveOperation,
    ActiveUpload,
    Client,
    Contract,
    DownloadCall,
    DownloadEndpoint,
    DownloadSpec,
    FeedCall,
    FeedContext,
    FeedEndpoint,
    FeedSpec,
    Model,
    OperationCall,
    OperationCapabilities,
    OperationEndpoint,
    OperationRun,
    OperationSignal,
    OperationSpec,
    Options,
    RpcCall,
    RpcContext,
    RpcEndpoint,
    RpcSpec,
    Runtime,
    Service,
    Store,
    StoredObject,
    StoreSpec,
    UploadCall,
    UploadEndpoint,
    UploadSpec,
)
from trellis_nats.auth import Authority, Caller

__all__ = ["ALL", "GRIND", "KEEP", "READ", "Nudge", "Thing", "VaultClient", "VaultService", "running"]

CONTRACT: Final = Contract(id="vault@v1", digest="v" * 43, generator="0", runtime_api=RUNTIME_API)
ALL: Final = ("vault::call", "vault::watch", "vault::observe", "vault::cancel", "vault::control")


class Thing(Model):
    """What is asked for, and answered."""

    name: str


class Nudge(OperationSignal[Thing]):
    """A signal."""

    name: ClassVar[str] = "nudge"
    input_type: ClassVar[object] = Thing


READ: Final = RpcSpec(
    name="Vault.Read", subject="rpc.v1.Vault.Read", input=Thing, output=Thing, capabilities=("vault::call",)
)
WATCH: Final = FeedSpec(
    name="Vault.Watch",
    subject="feeds.v1.Vault.Watch",
    input=Thing,
    event=Thing,
    capabilities=("vault::watch",),
)
GRIND: Final = OperationSpec(
    name="Vault.Grind",
    subject="operations.v1.Vault.Grind",
    input=Thing,
    output=Thing,
    signals=(Nudge,),
    cancel=True,
    capabilities=OperationCapabilities(
        call=("vault::call",),
        observe=("vault::observe",),
        cancel=("vault::cancel",),
        control=("vault::control",),
    ),
)
KEEP: Final = OperationSpec(
    name="Vault.Keep",
    subject="operations.v1.Vault.Keep",
    input=Thing,
    output=Thing,
    upload=UploadSpec(store="things", key="/name"),
    capabilities=OperationCapabilities(call=("vault::call",)),
)
FETCH: Final = DownloadSpec(
    name="Vault.Fetch", subject="rpc.v1.Vault.Fetch", input=Thing, capabilities=("vault::call",)
)


class GrindRun(OperationRun[Never, Thing]):
    """A handle on one operation."""


class KeepRun(OperationRun[Never, Thing]):
    """A handle on one operation with an upload."""


class VaultService(Service):
    """The service. Its handlers note who calls them."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.read: Final = RpcEndpoint[Thing, Thing](runtime, READ)
        self.watch: Final = FeedEndpoint[Thing, Thing](runtime, WATCH)
        self.grind: Final = OperationEndpoint[Thing, Never, Thing, Nudge](runtime, GRIND)
        self.keep: Final = UploadEndpoint[Thing, Never, Thing, None](runtime, KEEP)
        self.fetch: Final = DownloadEndpoint[Thing](runtime, FETCH)
        self.things: Final = Store(runtime, StoreSpec(name="things"))
        self.callers: Final[list[Caller | None]] = []
        """Of every handler that has run."""

    async def on_read(self, context: RpcContext, request: Thing) -> Thing:
        """Serve the procedure."""
        self.callers.append(context.caller)
        return request

    async def on_watch(self, context: FeedContext, request: Thing) -> AsyncIterator[Thing]:
        """Serve the feed."""
        self.callers.append(context.caller)
        yield request

    async def on_grind(self, operation: ActiveOperation[Thing, Never, Thing, Nudge]) -> Thing:
        """Run the operation: at once, or until its signal where the request says `wait`."""
        self.callers.append(operation.caller)
        if operation.input.name == "wait":
            async for signal in operation.signals():
                return signal.input
        return operation.input

    async def on_keep(self, operation: ActiveUpload[Thing, Never, Thing, None]) -> Thing:
        """Run the operation with an upload."""
        self.callers.append(operation.caller)
        return Thing(name=(await operation.upload).key)

    async def on_fetch(self, context: RpcContext, request: Thing) -> StoredObject:
        """Serve the download."""
        self.callers.append(context.caller)
        stored = await self.things.get(request.name)
        assert stored is not None
        return stored


class VaultClient(Client):
    """The client."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.read: Final = RpcCall[Thing, Thing](runtime, READ)
        self.watch: Final = FeedCall[Thing, Thing](runtime, WATCH)
        self.grind: Final = OperationCall[Thing, GrindRun](runtime, GRIND, GrindRun)
        self.keep: Final = UploadCall[Thing, KeepRun](runtime, KEEP, KeepRun)
        self.fetch: Final = DownloadCall[Thing](runtime, FETCH)


@asynccontextmanager
async def running(url: str, callers: Authority | None) -> AsyncGenerator[VaultService]:
    """Run the service; when it stops, handlers are cancelled at once."""
    options = Options(callers=callers, shutdown_grace=timedelta(0))
    async with VaultService.connect(url, options=options) as service:
        service.read.handle(service.on_read)
        service.watch.handle(service.on_watch)
        service.grind.handle(resume="run-again")(service.on_grind)
        service.keep.handle(service.on_keep)
        service.fetch.handle(service.on_fetch)
        await service.start()
        yield service
