"""Calls, feeds and operations between two versions of a contract: what cannot be read is refused, and both are named."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest
from trellis_nats import FeedContext, InvalidPayload, RpcContext, ValidationError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.letter_versions import LetterVersions, generate_letters

HEADER = "trellis-contract-digest"


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> LetterVersions:
    return generate_letters(tmp_path_factory.mktemp("letters"))


def serve(service: Any, package: ModuleType, answer: Any, event: Any) -> None:
    """Register handlers that answer with a value of the service's own version."""

    async def weigh(context: RpcContext, letter: Any) -> Any:
        return answer

    async def watch(context: FeedContext, ask: Any) -> AsyncIterator[Any]:
        yield event

    async def deliver(operation: Any) -> Any:
        return answer

    service.rpc.letters.weigh.handle(weigh)
    service.feeds.letters.watch.handle(watch)
    service.operations.letters.deliver.handle(deliver)
    service.consumers.archive.leave_to_others()


async def test_a_request_of_another_version_is_refused_and_both_are_named(
    nats_server: NatsServer, versions: LetterVersions
) -> None:
    old, new = versions
    async with (
        old.LettersService.connect(nats_server.url) as service,
        new.LettersClient.connect(nats_server.url) as client,
    ):
        serve(service, old, old.Answer(ok=True), old.Letter(number=1))
        await service.start()
        with LogSignals() as signals:
            for call in (client.rpc.letters.weigh, client.operations.letters.deliver.start):
                with pytest.raises(ValidationError) as refused:
                    await call(new.Letter(number=1, grams=2))
                error = refused.value
                assert (error.caller_digest, error.service_digest) == (
                    new.CONTRACT.digest,
                    old.CONTRACT.digest,
                )
                assert new.CONTRACT.digest in str(error)
                assert old.CONTRACT.digest in str(error)
                assert [place for place, _ in error.issues] == ["#/grams"]
        lines = [record.getMessage() for record in signals.of(LogEvent.CALL_REFUSED)]

    assert any(new.CONTRACT.digest in line and old.CONTRACT.digest in line for line in lines)


async def test_an_invalid_request_of_the_same_version_names_none(
    nats_server: NatsServer, versions: LetterVersions
) -> None:
    old, _ = versions
    answers: list[Message] = []
    async with old.LettersService.connect(nats_server.url) as service:
        serve(service, old, old.Answer(ok=True), old.Letter(number=1))
        await service.start()
        caller = await Connection.open(nats_server.url, settings=ConnectionSettings())
        inbox = caller.new_inbox()
        caller.subscribe(inbox, answers.append)
        for digest in (old.CONTRACT.digest, "not a digest", None):
            headers = {} if digest is None else {HEADER: digest}
            caller.send("rpc.v1.Letters.Weigh", b'{"number":"x"}', headers=headers, reply=inbox)
        await eventually(lambda: len(answers) == 3)
        await caller.close()

    for answer in answers:
        assert b"has contract version" not in answer.data
        assert b"callerContractDigest" not in answer.data
        assert dict(answer.headers) == {"status": "error", HEADER: old.CONTRACT.digest}


async def test_a_reply_of_another_version_names_both_to_its_caller(
    nats_server: NatsServer, versions: LetterVersions
) -> None:
    old, new = versions
    async with (
        new.LettersService.connect(nats_server.url) as service,
        old.LettersClient.connect(nats_server.url) as client,
    ):
        serve(service, new, new.Answer(ok=True, cost=3), new.Letter(number=1, grams=2))
        await service.start()
        async with client.feeds.letters.watch(old.Ask()) as letters:
            with pytest.raises(InvalidPayload) as unreadable:
                await anext(letters)
    assert_names_both(unreadable.value, writer=new, reader=old)


async def test_an_answer_that_the_caller_cannot_read_names_both(
    nats_server: NatsServer, versions: LetterVersions
) -> None:
    old, new = versions
    other = await Connection.open(nats_server.url, settings=ConnectionSettings())

    def answer(call: Message) -> None:
        assert call.headers[HEADER] == old.CONTRACT.digest
        other.send(call.reply, b'{"ok":true,"cost":3}', headers={HEADER: new.CONTRACT.digest})

    other.subscribe("rpc.v1.Letters.Weigh", answer)
    await other.flush()
    async with old.LettersClient.connect(nats_server.url) as client:
        with pytest.raises(InvalidPayload) as unreadable:
            await client.rpc.letters.weigh(old.Letter(number=1))
    await other.close()

    assert_names_both(unreadable.value, writer=new, reader=old)


def assert_names_both(error: InvalidPayload, *, writer: ModuleType, reader: ModuleType) -> None:
    assert (error.writer_digest, error.reader_digest) == (writer.CONTRACT.digest, reader.CONTRACT.digest)
    assert f"contract version {writer.CONTRACT.digest} wrote it" in str(error)
    assert f"this process has version {reader.CONTRACT.digest}" in str(error)


async def test_what_is_sent_says_which_version_wrote_it(
    nats_server: NatsServer, versions: LetterVersions
) -> None:
    old, _ = versions
    sent: list[Message] = []
    listener = await Connection.open(nats_server.url, settings=ConnectionSettings())
    for subject in ("rpc.>", "feeds.>", "operations.>", "events.v1.Letters.>", "_INBOX_letters.client.>"):
        listener.subscribe(subject, sent.append)
    await listener.flush()
    async with (
        old.LettersService.connect(nats_server.url) as service,
        old.LettersClient.connect(nats_server.url) as client,
    ):
        serve(service, old, old.Answer(ok=True), old.Letter(number=1))
        await service.start()
        await client.rpc.letters.weigh(old.Letter(number=1))
        async with client.feeds.letters.watch(old.Ask()) as letters:
            assert [letter async for letter in letters] == [old.Letter(number=1)]
        run = await client.operations.letters.deliver.start(old.Letter(number=1))
        updates = [update async for update in run.watch()]
        await service.events.letters.sent.publish(old.Letter(number=1))
        await listener.flush()
    await listener.close()

    assert updates[-1].snapshot.output == old.Answer(ok=True)
    ours = [message for message in sent if b'"number"' in message.data or b'"ok"' in message.data]
    assert {message.subject.partition(".")[0] for message in ours} >= {"rpc", "operations", "events"}
    assert len(ours) >= 6
    assert {message.headers.get(HEADER) for message in ours} == {old.CONTRACT.digest}


async def test_a_subscriber_skips_an_event_of_another_version_and_names_both(
    nats_server: NatsServer, versions: LetterVersions
) -> None:
    old, new = versions
    async with (
        new.LettersService.connect(nats_server.url) as publisher,
        old.LettersClient.connect(nats_server.url) as client,
        client.events.letters.sent.subscribe() as letters,
    ):
        with LogSignals() as signals:
            await publisher.events.letters.sent.publish(new.Letter(number=1, grams=2))
            publisher._runtime.connection.send("events.v1.Letters.Sent", b'{"number":5}')
            received = await anext(letters)
            (line,) = signals.of(LogEvent.EVENT_SKIPPED)

    assert received.event == old.Letter(number=5)
    assert line.levelno == logging.WARNING
    assert f"contract version {new.CONTRACT.digest} wrote it" in line.getMessage()
    assert f"this process has version {old.CONTRACT.digest}" in line.getMessage()
