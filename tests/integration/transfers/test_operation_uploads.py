"""Operations whose caller uploads an object: how they begin, how they end, and what is stored then."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from trellis_nats import (
    AuthError,
    OperationCancelled,
    OperationInterrupted,
    ResumePolicy,
    TransferError,
    TransferProgress,
    UnexpectedError,
    UploadFailed,
    ValidationError,
)
from trellis_nats._nats.request import request
from trellis_nats.operations.host import host_of
from trellis_nats.testing import NatsServer
from trellis_nats.transfers import uploads

from tests.support.eventually import eventually
from tests.support.files import pieces, stored_counts
from tests.support.processing import QUICK
from tests.support.uploading import (
    BUCKET,
    UPLOAD,
    UploadClient,
    UploadInput,
    UploadOperation,
    UploadOutput,
    UploadRun,
    UploadService,
    running,
)

CONTENT = os.urandom(600_000)
SOON = timedelta(seconds=10)


class Steps:
    """Content that is sent as far as a test lets it."""

    def __init__(self, *chunks: bytes, fails: bool = False, is_over: bool = False) -> None:
        self._chunks = chunks
        self._fails = fails
        self.sent = 0
        self.may_end = asyncio.Event()
        if is_over:
            self.may_end.set()

    async def wait_sent(self) -> None:
        """Wait until every chunk was accepted."""
        await eventually(lambda: self.sent == len(self._chunks))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
            self.sent += 1
        await self.may_end.wait()
        if self._fails:
            raise ZeroDivisionError


def begin(client: UploadClient, content: Steps, name: str = "o") -> "asyncio.Task[UploadRun]":
    """Begin an upload of 256 KiB that does not end before the test says so."""
    return asyncio.create_task(client.upload.start(UploadInput(name=name), upload=aiter(content)))


@pytest.mark.parametrize("size", [0, 1, 262_144, 600_000])
async def test_the_handler_gets_the_object_and_the_caller_the_result(
    nats_server: NatsServer, size: int
) -> None:
    progress: list[TransferProgress] = []
    async with running(nats_server.url) as (service, _, client):
        request = UploadInput(name="o", content_type="text/plain", labels={"by": "me"})
        run = await client.upload.start(
            request, upload=pieces(CONTENT[:size], 100_000), on_progress=progress.append
        )
        assert (await run.result(timeout=SOON)).size == size
        stored = await service.uploads.get("o")
        assert stored is not None
        assert await stored.read() == CONTENT[:size]
        assert stored.info.content_type == "text/plain"
        assert stored.info.metadata == {"by": "me"}
        assert service.upload.open_count == 0
        snapshot = await run.get()
    assert snapshot.transfer == (progress[-1] if progress else None)
    assert sum(each.chunk_bytes for each in progress) == size


async def test_a_file_is_uploaded(nats_server: NatsServer, tmp_path: Path) -> None:
    file = tmp_path / "content"
    file.write_bytes(CONTENT)
    async with running(nats_server.url) as (_, _, client):
        run = await client.upload.start(UploadInput(name="o"), upload=file)
        assert (await run.result(timeout=SOON)).size == len(CONTENT)


async def test_content_that_cannot_be_read_starts_no_operation(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with running(nats_server.url) as (service, _, client):
        with pytest.raises(FileNotFoundError):
            await client.upload.start(UploadInput(name="o"), upload=tmp_path / "missing")

        assert await host_of(service.runtime).store.bucket.keys("*") == []


async def test_a_watcher_sees_how_far_the_upload_is(nats_server: NatsServer) -> None:
    is_first_seen = asyncio.Event()

    async def content() -> AsyncIterator[bytes]:
        yield CONTENT[:262_144]
        await is_first_seen.wait()
        yield CONTENT[:262_144]

    async with running(nats_server.url) as (_, handler, client):
        started = asyncio.create_task(client.upload.start(UploadInput(name="o"), upload=content()))
        await eventually(lambda: handler.operations)
        seen: list[tuple[str, int | None]] = []
        async for update in client.upload.ref(handler.operations[0].id).watch():
            transfer = update.snapshot.transfer
            seen.append((update.type, None if transfer is None else transfer.transferred_bytes))
            if transfer is not None and transfer.transferred_bytes == 262_144:
                is_first_seen.set()
        run = await started
        assert (await run.result(timeout=SOON)).size == 524_288
    assert seen[-1] == ("completed", 524_288)
    assert ("transfer", 524_288) in seen


async def test_a_key_that_no_object_may_have_is_refused(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (service, handler, client):
        for request, place in (
            (UploadInput(name=""), "#/name"),
            (UploadInput(name="o", labels={"by": 3}), "#/labels/by"),
        ):
            with pytest.raises(ValidationError) as refused:
                await client.upload.start(request, upload=b"x")
            assert [path for path, _ in refused.value.issues] == [place]
        assert service.upload.open_count == 0
    assert not handler.operations


@pytest.mark.parametrize("known", [True, False])
async def test_more_than_the_contract_allows_fails_on_both_sides(
    nats_server: NatsServer, known: bool
) -> None:
    large = bytes(3_000_001)
    async with running(nats_server.url) as (service, handler, client):
        with pytest.raises(TransferError, match="max_bytes_exceeded"):
            await client.upload.start(
                UploadInput(name="o"), upload=large if known else pieces(large, 250_000)
            )
        await eventually(lambda: handler.ended)
        with pytest.raises(TransferError) as failed:
            await client.upload.ref(handler.operations[0].id).result(timeout=SOON)
        assert failed.value.reason in {"max_bytes_exceeded", "abandoned"}
        assert await service.uploads.info("o") is None
        await eventually(lambda: service.upload.open_count == 0)
        await eventually(lambda: is_empty(nats_server))


async def is_empty(server: NatsServer) -> bool:
    return not await stored_counts(server.url, BUCKET)


async def test_a_caller_that_sends_nothing_lets_the_operation_fail(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (service, handler, client):
        started = await request(client.runtime.connection, UPLOAD.subject, b'{"name":"o"}', timeout=SOON)
        run = client.upload.ref(json.loads(started.data)["ref"]["id"])
        with pytest.raises(TransferError, match="expired"):
            await run.result(timeout=SOON)
        assert handler.ended == [run.id]
        assert service.upload.open_count == 0


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_a_caller_that_stops_ends_the_operation(nats_server: NatsServer, how: str) -> None:
    """At once: the service does not wait until the upload expires."""
    content = Steps(CONTENT[:262_144], fails=how == "failed")
    async with running(nats_server.url) as (service, handler, client):
        started = begin(client, content)
        await eventually(lambda: content.sent)
        if how == "cancelled":
            started.cancel()
        else:
            content.may_end.set()
        with pytest.raises(asyncio.CancelledError if how == "cancelled" else ZeroDivisionError):
            await started
        with pytest.raises(TransferError, match="abandoned"):
            await client.upload.ref(handler.operations[0].id).result(timeout=timedelta(seconds=3))
        assert await service.uploads.info("o") is None
        await eventually(lambda: is_empty(nats_server))
        await eventually(lambda: service.upload.open_count == 0)


@pytest.mark.parametrize("has_begun", [True, False])
async def test_cancelling_the_operation_ends_the_upload(nats_server: NatsServer, has_begun: bool) -> None:
    content = Steps(*[CONTENT[:262_144]] * 2)
    async with running(nats_server.url, concurrency=1) as (service, handler, client):
        others: set[str] = set()
        if not has_begun:
            handler.may_return.clear()
            others = {(await begin(client, Steps(is_over=True), name="first")).id}
        started = begin(client, content)
        await eventually(lambda: content.sent == 2)
        (operation_id,) = {*await host_of(service.runtime).store.list_open()} - others
        await client.upload.ref(operation_id).cancel()
        content.may_end.set()
        with pytest.raises(TransferError, match="session_closed"):
            await started
        with pytest.raises(OperationCancelled):
            await client.upload.ref(operation_id).result(timeout=SOON)
        assert await service.uploads.info("o") is None
        if has_begun:
            await eventually(lambda: handler.ended == [operation_id])
        handler.may_return.set()
        await eventually(lambda: service.upload.open_count == 0)


async def test_a_handler_that_ends_first_ends_the_upload(nats_server: NatsServer) -> None:
    content = Steps(CONTENT[:262_144])
    async with (
        UploadService.connect(nats_server.url) as service,
        UploadClient.connect(nats_server.url) as client,
    ):

        @service.upload.handle
        async def upload(operation: UploadOperation) -> UploadOutput:
            await content.wait_sent()
            return UploadOutput(size=-1)

        await service.start()
        started = begin(client, content)
        await content.wait_sent()
        await eventually(lambda: service.upload.open_count == 0)
        content.may_end.set()
        with pytest.raises(TransferError, match="session_closed"):
            await started
        assert await service.uploads.info("o") is None


async def test_the_error_of_a_handler_that_ends_first_reaches_the_caller(nats_server: NatsServer) -> None:
    content = Steps(CONTENT[:262_144])
    async with (
        UploadService.connect(nats_server.url) as service,
        UploadClient.connect(nats_server.url) as client,
    ):

        @service.upload.handle
        async def refuse(operation: UploadOperation) -> UploadOutput:
            await content.wait_sent()
            raise AuthError("insufficient_permissions")

        await service.start()
        started = begin(client, content)
        await content.wait_sent()
        await eventually(lambda: service.upload.open_count == 0)
        content.may_end.set()
        with pytest.raises(AuthError, match="insufficient_permissions"):
            await started


async def test_a_handler_may_do_without_an_upload_that_failed(nats_server: NatsServer) -> None:
    async with (
        UploadService.connect(nats_server.url) as service,
        UploadClient.connect(nats_server.url) as client,
    ):

        @service.upload.handle
        async def upload(operation: UploadOperation) -> UploadOutput:
            try:
                return UploadOutput(size=(await operation.upload).size)
            except UploadFailed as error:
                return UploadOutput(size=-1 if error.reason == "abandoned" else -2)

        await service.start()
        content = Steps(CONTENT[:10], fails=True, is_over=True)
        with pytest.raises(ZeroDivisionError):
            await begin(client, content)
        (operation_id,) = await host_of(service.runtime).store.bucket.keys("*")
        assert (await client.upload.ref(operation_id).result(timeout=SOON)).size == -1


@pytest.mark.parametrize("resume", ["fail", "run-again"])
async def test_a_service_that_stops_ends_the_upload(nats_server: NatsServer, resume: ResumePolicy) -> None:
    content = Steps(*[CONTENT[:262_144]] * 2)
    async with UploadClient.connect(nats_server.url) as client:
        async with running(nats_server.url, options=QUICK, resume=resume) as (service, handler, _):
            started = begin(client, content)
            await eventually(lambda: content.sent == 2)
            operation_id = handler.operations[0].id
        content.may_end.set()
        with pytest.raises(TransferError, match="session_closed"):
            await started
        async with running(nats_server.url, options=QUICK, resume=resume) as (service, handler, _):
            with pytest.raises(TransferError if resume == "run-again" else OperationInterrupted):
                await client.upload.ref(operation_id).result(timeout=SOON)
            assert await service.uploads.info("o") is None
            run = await client.upload.start(UploadInput(name="o"), upload=CONTENT)
            assert (await run.result(timeout=SOON)).size == len(CONTENT)


async def test_a_handler_that_runs_again_has_the_uploaded_object(nats_server: NatsServer) -> None:
    async with UploadClient.connect(nats_server.url) as client:
        async with running(nats_server.url, options=QUICK, resume="run-again") as (_, handler, _):
            handler.may_return.clear()
            run = await client.upload.start(UploadInput(name="o"), upload=CONTENT)
        async with running(nats_server.url, options=QUICK, resume="run-again") as (service, handler, _):
            assert (await run.result(timeout=SOON)).size == len(CONTENT)
            assert [operation.attempt for operation in handler.operations] == [2]
            assert await service.uploads.info("o") is not None


async def test_uploads_beyond_the_limits_are_refused(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_GRANTED_MAX", 2)
    monkeypatch.setattr(uploads, "_RECEIVING_MAX", 1)
    content = Steps(CONTENT[:262_144])
    async with running(nats_server.url) as (service, handler, client):
        first = begin(client, content)
        await eventually(lambda: content.sent)
        with pytest.raises(TransferError, match="busy"):
            await client.upload.start(UploadInput(name="p"), upload=b"x")
        await eventually(lambda: service.upload.open_count == 1)
        await request(client.runtime.connection, UPLOAD.subject, b'{"name":"q"}', timeout=SOON)
        with pytest.raises(TransferError, match="busy"):
            await client.upload.start(UploadInput(name="r"), upload=b"x")
        assert len(handler.operations) == 3
        content.may_end.set()
        assert (await (await first).result(timeout=SOON)).size == 262_144


async def test_another_way_to_fail_is_an_error_with_an_id(nats_server: NatsServer) -> None:
    """Of a `TransferError` that answers a call of the handler's own, its caller gets only an id."""
    async with (
        UploadService.connect(nats_server.url) as service,
        UploadClient.connect(nats_server.url) as client,
    ):

        @service.upload.handle
        async def upload(operation: UploadOperation) -> UploadOutput:
            await operation.upload
            raise TransferError("get", "session_closed")

        await service.start()
        run = await client.upload.start(UploadInput(name="o"), upload=b"x")
        with pytest.raises(UnexpectedError):
            await run.result(timeout=SOON)
