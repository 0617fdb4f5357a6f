"""A small service whose operation takes an upload, and its client, as trellis-gen would write them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, ClassVar, Final, TypeAlias

from pydantic import Field
from trellis_nats import (
    RUNTIME_API,
    ActiveUpload,
    Client,
    Contract,
    Model,
    OperationRun,
    OperationSpec,
    Options,
    ResumePolicy,
    Runtime,
    Service,
    Store,
    StoreSpec,
    UploadCall,
    UploadEndpoint,
    UploadSpec,
)

__all__ = [
    "BUCKET",
    "UPLOAD",
    "UploadClient",
    "UploadHandler",
    "UploadInput",
    "UploadOperation",
    "UploadOutput",
    "UploadRun",
    "UploadService",
    "running",
]

CONTRACT: Final = Contract(id="wire@v1", digest="w" * 43, generator="0", runtime_api=RUNTIME_API)
BUCKET: Final = "wire_uploads"


class UploadInput(Model):
    """The request that starts the operation."""

    name: str
    content_type: Annotated[str | None, Field(alias="type")] = None
    labels: dict[str, str | int] | None = None


class UploadOutput(Model):
    """The result."""

    size: int


UPLOAD: Final = OperationSpec(
    name="Wire.Upload",
    subject="operations.v1.Wire.Upload",
    input=UploadInput,
    output=UploadOutput,
    cancel=True,
    upload=UploadSpec(
        store="uploads",
        key="/name",
        content_type="/type",
        metadata="/labels",
        expires_in=timedelta(seconds=4),
        max_bytes=3_000_000,
    ),
)

UploadOperation: TypeAlias = ActiveUpload[UploadInput, None, UploadOutput, None]


class UploadRun(OperationRun[None, UploadOutput]):
    """A handle on one operation."""


class UploadService(Service):
    """The service."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.uploads: Final = Store(runtime, StoreSpec(name="uploads"))
        self.upload: Final = UploadEndpoint[UploadInput, None, UploadOutput, None](runtime, UPLOAD)


class UploadClient(Client):
    """The client."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.upload: Final = UploadCall[UploadInput, UploadRun](runtime, UPLOAD, UploadRun)


class UploadHandler:
    """A handler that waits for the upload, and then until a test lets it go on."""

    def __init__(self) -> None:
        self.operations: list[UploadOperation] = []
        self.ended: list[str] = []
        self.may_begin = asyncio.Event()
        self.may_begin.set()
        self.may_return = asyncio.Event()
        self.may_return.set()

    async def handle(self, operation: UploadOperation) -> UploadOutput:
        """Run an operation."""
        self.operations.append(operation)
        try:
            await self.may_begin.wait()
            info = await operation.upload
            await self.may_return.wait()
            return UploadOutput(size=info.size)
        finally:
            self.ended.append(operation.id)


@asynccontextmanager
async def running(
    url: str,
    *,
    options: Options | None = None,
    resume: ResumePolicy = "fail",
    concurrency: int = 100,
) -> AsyncGenerator[tuple[UploadService, UploadHandler, UploadClient]]:
    """Run a service that takes uploads, and a client."""
    handler = UploadHandler()
    async with (
        UploadService.connect(url, options=options) as service,
        UploadClient.connect(url) as client,
    ):
        service.upload.handle(resume=resume, concurrency=concurrency)(handler.handle)
        await service.start()
        yield service, handler, client
