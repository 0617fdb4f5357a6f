"""The recorded frames of transfers and stores: we read what other runtimes sent, and send what they would."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Final, cast

import pytest
from pydantic import JsonValue
from trellis_nats import TransferError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.codec import Codec
from trellis_nats.testing import NatsServer
from trellis_nats.transfers.grant import TransferGrant
from trellis_nats.transfers.upload import send_upload
from trellis_nats.transfers.upload_session import UploadSession

from tests.conformance.wire import NEEDS_RECORDINGS, Recorded, frames_of, without_extensions
from tests.support.downloads import DOWNLOAD, FileRequest, WireClient, WireService, serve_files
from tests.support.eventually import eventually

pytestmark = NEEDS_RECORDINGS

VARYING: Final = {
    "transferId",
    "subject",
    "expiresAt",
    "updatedAt",
    "mtime",
    "nuid",
    "bucket",
    "id",
    "revision",
}
"""Ids, instants and names that differ from one run to the next."""
README: Final = b"first line\nsecond line\n"
LARGE: Final = b"B" * 300_000
TRANSFER: Final = "transfer.v1."
GRANT: Final = Codec[TransferGrant](TransferGrant, what="a grant")


@pytest.fixture
async def service(nats_server: NatsServer) -> AsyncIterator[WireService]:
    async with WireService.connect(nats_server.url) as connected:
        await serve_files(connected)
        await connected.uploads.put(
            "docs/readme.txt", README, content_type="text/plain", metadata={"owner": "c1"}
        )
        await connected.uploads.put("large.bin", LARGE, content_type="application/octet-stream")
        yield connected


@pytest.fixture
async def caller(nats_server: NatsServer, service: WireService) -> AsyncIterator[Connection]:
    connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
    yield connection
    await connection.close()


def comparable(value: JsonValue) -> JsonValue:
    """Leave out what differs from one run to the next."""
    if isinstance(value, dict):
        return {name: comparable(member) for name, member in value.items() if name not in VARYING}
    return value


def parsed(body: bytes) -> JsonValue:
    return comparable(cast("JsonValue", json.loads(body)))


async def ask(
    caller: Connection, frame: Recorded, inbox: str, *, subject: str | None = None
) -> list[Message]:
    """Send a recorded frame with another reply subject, and return the list that its answers come into."""
    answers: list[Message] = []
    caller.subscribe(inbox, answers.append)
    caller.send(subject or frame.subject, frame.body, headers=frame.headers, reply=inbox)
    await eventually(lambda: answers)
    return answers


@pytest.mark.parametrize(
    ("case", "content"), [("transfer.download", README), ("transfer.download_two_chunks", LARGE)]
)
async def test_our_service_sends_what_another_would(
    service: WireService, caller: Connection, case: str, content: bytes
) -> None:
    recorded = frames_of("transfer.json", case)
    call, request = (frame for frame in recorded if frame.direction == "client->service")
    granted, *expected = (frame for frame in recorded if frame.direction == "service->client")
    prefix = str(request.reply).rpartition(".")[0]

    (answer,) = await ask(caller, call, f"{prefix}.1")
    assert without_extensions(answer.headers) == {}
    assert parsed(answer.data) == parsed(granted.body)
    grant = GRANT.decode(answer.data)
    frames = await ask(caller, request, f"{prefix}.2", subject=grant.subject)
    await eventually(lambda: len(frames) == len(expected))

    assert [dict(frame.headers) for frame in frames] == [frame.headers for frame in expected]
    assert [frame.data for frame in frames] == [frame.body for frame in expected]
    assert b"".join(frame.data for frame in frames) == content


async def test_our_service_refuses_a_foreign_inbox_as_another_would(
    service: WireService, caller: Connection
) -> None:
    recorded = frames_of("transfer.json", "transfer.download_reply_subject_mismatch")
    call, request = (frame for frame in recorded if frame.direction == "client->service")
    (expected,) = (frame for frame in recorded if frame.direction == "service->wrong_inbox")

    (answer,) = await ask(caller, call, str(call.reply))
    (refusal,) = await ask(caller, request, str(request.reply), subject=GRANT.decode(answer.data).subject)

    assert dict(refusal.headers) == expected.headers
    assert parsed(refusal.data) == parsed(expected.body)


@pytest.mark.parametrize(
    ("case", "content"), [("transfer.download", README), ("transfer.download_two_chunks", LARGE)]
)
async def test_our_client_reads_what_another_service_sends(
    nats_server: NatsServer, case: str, content: bytes
) -> None:
    granted, *frames = (
        frame for frame in frames_of("transfer.json", case) if frame.direction == "service->client"
    )
    other = await Connection.open(nats_server.url, settings=ConnectionSettings())

    def send(request: Message) -> None:
        if request.reply:
            for frame in frames:
                other.send(request.reply, frame.body, headers=frame.headers)

    other.subscribe(DOWNLOAD.subject, lambda call: other.send(call.reply, granted.body))
    other.subscribe(f"{TRANSFER}download.*.*", send)
    await other.flush()
    async with WireClient.connect(nats_server.url) as client:
        download = await client.download(FileRequest(key="any"))

        assert await download.read() == content
        assert download.info.size == len(content)
    await other.close()


@pytest.mark.parametrize(
    "case", ["transfer.download_invalid_proof", "transfer.download_reply_subject_mismatch"]
)
async def test_our_client_reads_the_errors_of_another_service(nats_server: NatsServer, case: str) -> None:
    recorded = frames_of("transfer.json", case)
    (granted,) = (frame for frame in recorded if frame.body.startswith(b'{"type":"TransferGrant"'))
    (refusal,) = (frame for frame in recorded if b"TransferError" in frame.body)

    def refuse(request: Message) -> None:
        if request.reply:
            other.send(request.reply, refusal.body, headers=refusal.headers)

    other = await Connection.open(nats_server.url, settings=ConnectionSettings())
    other.subscribe(DOWNLOAD.subject, lambda call: other.send(call.reply, granted.body))
    other.subscribe(f"{TRANSFER}download.*.*", refuse)
    await other.flush()
    async with WireClient.connect(nats_server.url) as client:
        download = await client.download(FileRequest(key="any"))
        with pytest.raises(TransferError) as failed:
            await download.read()
    await other.close()

    assert failed.value.operation == "get"
    assert failed.value.reason == case.removeprefix("transfer.download_")


UPLOADS: Final = [
    "upload.two_chunks",
    "upload.out_of_order",
    "upload.missing_sequence",
    "upload.invalid_sequence",
    "upload.chunk_too_large",
    "upload.max_bytes_exceeded",
    "upload.eof_with_body",
    "upload.empty_file",
    "upload.reply_subject_mismatch",
]


def upload_frames(case: str) -> tuple[TransferGrant, list[Recorded], list[Recorded]]:
    """Return the grant of a recorded upload, its chunks, and the answers to them."""
    recorded = frames_of("operation.json", case)
    accepted = next(frame for frame in recorded if b'"kind":"accepted"' in frame.body)
    grant = GRANT.from_json(json.loads(accepted.body)["transfer"])
    chunks = [frame for frame in recorded if frame.subject.startswith(TRANSFER)]
    replies = {frame.reply for frame in chunks}
    answers = [frame for frame in recorded if frame.subject in replies]
    return grant, chunks, answers


@pytest.mark.parametrize("case", UPLOADS)
async def test_our_service_answers_an_upload_as_another_would(
    service: WireService, caller: Connection, case: str
) -> None:
    grant, chunks, expected = upload_frames(case)
    session = UploadSession(
        service.runtime,
        service.uploads,
        "o",
        session_key=grant.session_key,
        content_type=grant.content_type,
        max_bytes=grant.max_bytes,
    )
    await service.runtime.connection.flush()
    written = parsed(GRANT.encode(session.grant))
    assert written == parsed(GRANT.encode(grant))

    for number, chunk in enumerate(chunks):
        (answer,) = await ask(caller, chunk, f"_INBOX.test.{number}", subject=session.grant.subject)
        recorded = parsed(expected[number].body)
        if isinstance(recorded, dict) and isinstance(info := recorded.get("info"), dict):
            info["key"] = "o"
        assert dict(answer.headers) == expected[number].headers
        assert parsed(answer.data) == recorded
    await session.close()


@pytest.mark.parametrize("case", ["upload.two_chunks", "upload.empty_file", "upload.small_watched"])
async def test_our_client_uploads_to_another_service(nats_server: NatsServer, case: str) -> None:
    grant, chunks, answers = upload_frames(case)
    content = b"".join(chunk.body for chunk in chunks)
    other = await Connection.open(nats_server.url, settings=ConnectionSettings())
    received: list[Message] = []

    def answer(chunk: Message) -> None:
        other.send(chunk.reply, answers[len(received)].body)
        received.append(chunk)

    other.subscribe(grant.subject, answer)
    await other.flush()
    async with WireClient.connect(nats_server.url) as client:
        info = await send_upload(
            client.runtime.connection, grant, content, timeout=client.runtime.options.request_timeout
        )
    await other.close()

    kept = ("trellis-transfer-seq", "trellis-transfer-eof")
    expected = [{name: chunk.headers[name] for name in kept if name in chunk.headers} for chunk in chunks]
    assert [dict(chunk.headers) for chunk in received] == expected
    assert [chunk.data for chunk in received] == [chunk.body for chunk in chunks]
    assert info.size == len(content)


@pytest.mark.parametrize("case", ["transfer.store_put", "transfer.store_put_plain"])
async def test_our_records_are_those_of_another_runtime(
    service: WireService, caller: Connection, case: str
) -> None:
    sent = [frame for frame in frames_of("transfer.json", case) if frame.direction == "service->nats"]
    (chunk,) = (frame for frame in sent if ".C." in frame.subject)
    (record,) = (frame for frame in sent if ".M." in frame.subject)
    expected = cast("dict[str, JsonValue]", json.loads(record.body))
    name = str(expected["name"])
    ours: list[Message] = []
    caller.subscribe("$O.wire_uploads.>", ours.append)
    await caller.flush()

    plain = "metadata" not in expected
    await service.uploads.put(
        name,
        chunk.body,
        content_type=None if plain else "text/plain",
        metadata=None if plain else {"owner": "c1"},
    )
    await eventually(lambda: len(ours) == 2)

    assert ours[0].data == chunk.body
    assert parsed(ours[1].data) == comparable(expected)
    assert ours[1].subject.rpartition(".")[2] == record.subject.rpartition(".")[2]
    assert ours[1].headers["Nats-Rollup"] == record.headers["Nats-Rollup"]


async def test_our_deletion_is_that_of_another_runtime(service: WireService, caller: Connection) -> None:
    sent = [
        frame
        for frame in frames_of("transfer.json", "transfer.store_delete")
        if frame.direction == "service->nats"
    ]
    (record,) = (frame for frame in sent if ".M." in frame.subject)
    name = str(json.loads(record.body)["name"])
    await service.uploads.put(name, b"\x00\xff\x01\xfe")
    ours: list[Message] = []
    caller.subscribe("$O.wire_uploads.M.>", ours.append)
    await caller.flush()
    await service.uploads.delete(name)
    await eventually(lambda: ours)

    assert parsed(ours[0].data) == parsed(record.body)


async def test_we_read_the_records_of_another_runtime(service: WireService) -> None:
    listed = [
        frame
        for frame in frames_of("transfer.json", "transfer.store_list")
        if frame.direction == "nats->service" and frame.subject.startswith("$O.")
    ]
    assert listed
    connection = service.runtime.connection
    for frame in listed:
        token = frame.subject.rpartition(".")[2]
        await connection.publish(f"$O.wire_uploads.M.{token}", frame.body)
    await connection.flush()

    infos = {info.key: info for info in await service.uploads.list()}
    for frame in listed:
        record = json.loads(frame.body)
        key = base64.urlsafe_b64decode(frame.subject.rpartition(".")[2]).decode()
        assert (infos[key].size, infos[key].digest) == (record["size"], record["digest"] or None)
        assert infos[key].content_type == "text/plain"
