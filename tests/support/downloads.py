"""A service whose procedure answers with an object, and its client."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from trellis_nats import (
    RUNTIME_API,
    Client,
    Contract,
    DeclaredError,
    DownloadCall,
    DownloadEndpoint,
    DownloadSpec,
    Model,
    RpcContext,
    Runtime,
    Service,
    Store,
    StoredObject,
    StoreSpec,
)

__all__ = ["DOWNLOAD", "FileRequest", "MissingFile", "WireClient", "WireService", "serve_files"]

CONTRACT: Final = Contract(id="wire@v1", digest="w" * 43, generator="0", runtime_api=RUNTIME_API)


class FileRequest(Model):
    """The request."""

    key: str


class MissingFileData(Model):
    """The data of the error."""

    id: str
    type: Literal["NotFoundError"]
    message: str
    resource: str


class MissingFile(DeclaredError):
    """The error."""

    error_type: ClassVar[str] = "NotFoundError"
    data_type: ClassVar[object] = MissingFileData

    def __init__(self, message: str, *, resource: str) -> None:
        super().__init__(message, resource=resource)


DOWNLOAD: Final = DownloadSpec(
    name="Wire.Download", subject="rpc.v1.Wire.Download", input=FileRequest, errors=(MissingFile,)
)


class WireService(Service):
    """The service."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.uploads: Final = Store(runtime, StoreSpec(name="uploads"))
        self.download: Final = DownloadEndpoint[FileRequest](runtime, DOWNLOAD)


class WireClient(Client):
    """The client."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.download: Final = DownloadCall[FileRequest](runtime, DOWNLOAD)


async def serve_files(service: WireService) -> None:
    """Serve what the store has."""

    @service.download.handle
    async def download(context: RpcContext, request: FileRequest) -> StoredObject:
        stored = await service.uploads.get(request.key)
        if stored is None:
            raise MissingFile(f"file {request.key} not found", resource="file")
        return stored

    await service.start()
