"""The recorded uploads of operations: our service answers and stores what others would, and our client sends what theirs do."""

from __future__ import annotations

import json
from typing import cast

import pytest
from pydantic import JsonValue
from trellis_nats import TransferError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats.operations.host import host_of
from trellis_nats.testing import NatsServer

from tests.conformance.test_operation_frames import comparable
from tests.conformance.wire import NEEDS_RECORDINGS, Recorded, frames_of
from tests.support.uploading import UPLOAD, UploadClient, UploadInput, running

pytestmark = NEEDS_RECORDINGS

TRANSFER = "transfer.v1.upload."
VARYING_OF_GRANTS = ("transferId", "subject", "expiresAt", "sessionKey", "maxBytes")


def parsed(body: bytes) -> dict[str, JsonValue]:
    return cast("dict[str, JsonValue]", json.loads(body))


def chunks_of(recorded: list[Recorded]) -> list[Recorded]:
    return [frame for frame in recorded if frame.subject.startswith(TRANSFER)]


def answer_to(recorded: list[Recorded], asked: Recorded) -> Recorded:
    return next(frame for frame in recorded if frame.subject == asked.reply)


def find_start(recorded: list[Recorded]) -> Recorded:
    return next(frame for frame in recorded if frame.subject == UPLOAD.subject)


def comparable_grant(body: bytes) -> dict[str, JsonValue]:
    grant = cast("dict[str, JsonValue]", parsed(body)["transfer"])
    return {name: value for name, value in grant.items() if name not in VARYING_OF_GRANTS}


def find_end(recorded: list[Recorded], operation_id: str) -> bytes | None:
    """Return the last recorded state of an operation that the recorded service stored."""
    key = f".{operation_id}"
    return next((frame.body for frame in reversed(recorded) if frame.subject.endswith(key)), None)


@pytest.mark.parametrize(
    ("case", "state"),
    [
        ("upload.two_chunks", "completed"),
        ("upload.small_watched", "completed"),
        ("upload.eof_with_body", "completed"),
        ("upload.empty_file", "completed"),
        ("upload.out_of_order", "failed"),
        ("upload.missing_sequence", "failed"),
        ("upload.chunk_too_large", "failed"),
        ("upload.expired", "failed"),
    ],
)
async def test_our_service_runs_an_upload_as_another_would(
    nats_server: NatsServer, case: str, state: str
) -> None:
    recorded = frames_of("operation.json", case)
    start = find_start(recorded)
    accepted = answer_to(recorded, start)
    async with running(nats_server.url) as (service, _, client):
        caller = await Connection.open(nats_server.url, settings=ConnectionSettings())
        timeout = caller.settings.connect_timeout
        ours = await request(caller, start.subject, start.body, timeout=timeout)
        frame = parsed(ours.data)
        grant = cast("dict[str, str]", frame["transfer"])
        for chunk in chunks_of(recorded) if case != "upload.expired" else ():
            names = ("trellis-transfer-seq", "trellis-transfer-eof")
            headers = {name: chunk.headers[name] for name in names if name in chunk.headers}
            expected = answer_to(recorded, chunk)
            answer = await request(caller, grant["subject"], chunk.body, headers=headers, timeout=timeout)
            assert dict(answer.headers) == expected.headers
        operation_id = cast("dict[str, str]", frame["ref"])["id"]
        snapshot = None
        async for update in client.upload.ref(operation_id).watch():
            snapshot = update.snapshot
        stored = await host_of(service.runtime).store.require(operation_id)
        await caller.close()

    assert comparable_grant(ours.data) == comparable_grant(accepted.body)
    assert comparable(json.dumps({**frame, "transfer": None}).encode()) == comparable(
        json.dumps({**parsed(accepted.body), "transfer": None}).encode()
    )
    assert snapshot is not None
    assert snapshot.state == state
    recorded_id = cast("dict[str, str]", parsed(accepted.body)["ref"])["id"]
    end = find_end(recorded, recorded_id)
    if end is not None:
        assert comparable(stored.record.encode()) == comparable(end)


@pytest.mark.parametrize("case", ["upload.two_chunks", "upload.small_watched", "upload.empty_file"])
async def test_our_client_uploads_to_the_operation_of_another_service(
    nats_server: NatsServer, case: str
) -> None:
    recorded = frames_of("operation.json", case)
    start, chunks = find_start(recorded), chunks_of(recorded)
    received: list[Message] = []
    other = await Connection.open(nats_server.url, settings=ConnectionSettings())

    def accept(call: Message) -> None:
        other.send(call.reply, answer_to(recorded, start).body)

    def take(chunk: Message) -> None:
        other.send(chunk.reply, answer_to(recorded, chunks[len(received)]).body)
        received.append(chunk)

    other.subscribe(start.subject, accept)
    other.subscribe(f"{TRANSFER}>", take)
    await other.flush()
    async with UploadClient.connect(nats_server.url) as client:
        content = b"".join(chunk.body for chunk in chunks)
        run = await client.upload.start(UploadInput.model_validate_json(start.body), upload=content)
    await other.close()

    assert run.id == cast("dict[str, str]", parsed(answer_to(recorded, start).body)["ref"])["id"]
    assert [chunk.data for chunk in received] == [chunk.body for chunk in chunks]


async def test_our_client_reads_how_an_upload_failed(nats_server: NatsServer) -> None:
    recorded = frames_of("operation.json", "upload.expired")
    snapshot = next(frame for frame in reversed(recorded) if b'"kind":"snapshot"' in frame.body)
    other = await Connection.open(nats_server.url, settings=ConnectionSettings())
    other.subscribe(UPLOAD.control_subject, lambda call: other.send(call.reply, snapshot.body))
    await other.flush()
    async with UploadClient.connect(nats_server.url) as client:
        with pytest.raises(TransferError) as failed:
            await client.upload.ref("01M8KT11H9BQ2EKG3M5PK232FS").result()
    await other.close()

    assert (failed.value.operation, failed.value.reason, failed.value.context) == ("put", "expired", {})
    assert failed.value.id is not None


async def test_our_client_reads_how_far_an_upload_is(nats_server: NatsServer) -> None:
    recorded = frames_of("operation.json", "upload.two_chunks")
    snapshot = next(frame for frame in recorded if b'"kind":"snapshot"' in frame.body)
    other = await Connection.open(nats_server.url, settings=ConnectionSettings())
    other.subscribe(UPLOAD.control_subject, lambda call: other.send(call.reply, snapshot.body))
    await other.flush()
    async with UploadClient.connect(nats_server.url) as client:
        transfer = (await client.upload.ref("01M8KT0YC7T823P3YB84SJ0F7K").get()).transfer
    await other.close()

    assert transfer is not None
    assert (transfer.chunk_index, transfer.chunk_bytes, transfer.transferred_bytes) == (0, 262_144, 262_144)
