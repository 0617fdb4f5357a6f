"""Attacks on a service that checks who calls, by who may publish to its subjects: nothing runs, and the log stays small."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Final

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats.auth import Signer
from trellis_nats.codec import decode_json
from trellis_nats.ids import new_id
from trellis_nats.testing import LogSignals, NatsServer

from tests.support.callers import OTHER, SHOP, KnownKeys
from tests.support.eventually import eventually
from tests.support.raw_publisher import RawPublisher, raw_publisher
from tests.support.vault import ALL, FETCH, GRIND, KEEP, READ, WATCH, running

BODY: Final = b'{"name":"a"}'
CONTROL: Final = b'{"action":"cancel","operationId":"01M8KT1SQRNQ61FVVWXTVD0ATW"}'
SUBJECTS: Final[Mapping[str, bytes]] = MappingProxyType(
    {
        READ.subject: BODY,
        WATCH.subject: BODY,
        GRIND.subject: BODY,
        GRIND.control_subject: CONTROL,
        KEEP.subject: BODY,
        FETCH.subject: BODY,
    }
)


@dataclass
class Attacker:
    """Sends what it likes, and sees every answer: the most that an account can."""

    raw: RawPublisher
    answers: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Reply subject → the reasons of the refusals, or "served"."""

    def take(self, message: Message) -> None:
        """Note an answer."""
        try:
            answer = decode_json(message.data) if message.data else None
        except ValueError:
            return  # the service's own check of its permissions
        match answer:
            case {"type": "AuthError", "reason": str(reason)} | {
                "error": {"type": "AuthError", "reason": str(reason)}
            }:
                pass
            case _:
                reason = "served"
        self.answers.setdefault(message.subject, []).append(reason)

    def send(
        self, subject: str, body: bytes, lines: list[tuple[str, str]], *, reply: str | None = None
    ) -> str:
        """Send a request, and return the reply subject."""
        reply = f"{SHOP.inbox_prefix}.{new_id()}" if reply is None else reply
        block = b"NATS/1.0\r\n" + b"".join(f"{name}: {text}\r\n".encode() for name, text in lines) + b"\r\n"
        self.raw.publish(subject.encode(), body, reply=reply.encode(), headers=block)
        return reply

    async def reasons(self, replies: list[str]) -> set[str]:
        """Wait for the answers, and return what they say."""
        await self.raw.flush()
        await eventually(lambda: all(reply in self.answers for reply in replies))
        return {reason for reply in replies for reason in self.answers[reply]}


@pytest.fixture
async def attacker(nats_server: NatsServer) -> AsyncIterator[Attacker]:
    async with raw_publisher(nats_server) as raw:
        attacker = Attacker(raw)
        connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
        connection.subscribe("_INBOX.>", attacker.take)
        await connection.flush()
        yield attacker
        await connection.close()


def proof(subject: str, body: bytes, signer: Signer | None = None) -> dict[str, str]:
    request_id = new_id()
    signed = (signer or Signer(SHOP)).headers(subject, body, request_id)
    return {"request-id": request_id, **signed}


def later(seconds: float) -> float:
    return time.time() + seconds


def forgeries(subject: str, body: bytes) -> Iterator[tuple[list[tuple[str, str]], bytes]]:
    """Yield the header lines and bodies of requests that the holder of the key has not made."""
    for name in ("session-key", "proof", "iat", "request-id"):
        valid = proof(subject, body)
        text = valid.pop(name)
        others = list(valid.items())
        yield others, body
        yield [*others, (name.title(), text)], body
        yield [*others, (name, text), (name, "A" * len(text))], body
        for changed in (
            f"{text[:-1]}{'1' if text[-1] != '1' else '2'}",
            "",
            "\u00e9" * 43,
            f"{text},{text}",
            "A" * 9000,
        ):
            yield [*others, (name, changed)], body
    valid = proof(subject, body)
    yield [*valid.items()], body.replace(b'"a"', b'"b"').replace(b"01M8", b"01M9")
    yield [*(valid | {"session-key": OTHER.public}).items()], body
    yield [*proof(subject, body, Signer(OTHER)).items()], body
    for elsewhere in ({*SUBJECTS} - {subject}) | {subject + ".x", "rpc.v1.*.*", "rpc.v1.>", ""}:
        yield [*proof(elsewhere, body).items()], body
    for off in (-3600, -32, 32, 3600, 10**10):
        yield [*proof(subject, body, Signer(SHOP, partial(later, off))).items()], body


async def test_no_forged_request_reaches_a_handler(nats_server: NatsServer, attacker: Attacker) -> None:
    callers = KnownKeys.of(SHOP, capabilities=ALL)
    async with running(nats_server.url, callers) as service:
        replies = [
            attacker.send(subject, changed, lines)
            for subject, body in SUBJECTS.items()
            for lines, changed in forgeries(subject, body)
        ]
        reasons = await attacker.reasons(replies)
    assert reasons == {
        "missing_session_key",
        "missing_proof",
        "invalid_signature",
        "iat_out_of_range",
        "session_not_found",
    }
    assert service.callers == []


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_no_answer_goes_where_the_caller_cannot_be(
    nats_server: NatsServer, attacker: Attacker, subject: str
) -> None:
    body = SUBJECTS[subject]
    async with running(nats_server.url, KnownKeys.of(SHOP, OTHER, capabilities=ALL)) as service:
        elsewhere = [
            f"{OTHER.inbox_prefix}.{new_id()}",
            f"{SHOP.inbox_prefix}x.1",
            "_INBOX.1",
            SHOP.inbox_prefix,
        ]
        replies = [
            attacker.send(subject, body, [*proof(subject, body).items()], reply=to) for to in elsewhere
        ]
        assert await attacker.reasons(replies) == {"reply_subject_mismatch"}
        for unusable in (
            "",
            f"{SHOP.inbox_prefix}.*",
            f"{SHOP.inbox_prefix}.>",
            "rpc.v1.Vault.Read",
            "$JS.API.INFO",
        ):
            attacker.send(subject, body, [*proof(subject, body).items()], reply=unusable)
        await attacker.raw.flush()
        await service.runtime.connection.flush()
    assert service.callers == []
    assert attacker.answers.keys() == set(elsewhere)


@pytest.mark.parametrize("subject", [READ.subject, WATCH.subject, GRIND.subject, FETCH.subject])
async def test_a_captured_request_is_served_once(
    nats_server: NatsServer, attacker: Attacker, subject: str
) -> None:
    async with running(nats_server.url, KnownKeys.of(SHOP, capabilities=ALL)) as service:
        await service.things.put("a", b"stored")
        captured = [*proof(subject, BODY).items()]
        first = [attacker.send(subject, BODY, captured) for _ in range(20)]
        await attacker.reasons(first)
        again = [attacker.send(subject, BODY, captured) for _ in range(5)]
        assert await attacker.reasons(again) == {"invalid_signature"}
    refused = [reply for reply in first if attacker.answers[reply] == ["invalid_signature"]]
    assert len(refused) == 19
    assert len(service.callers) == 1


async def test_huge_and_unprintable_headers_do_not_flood_the_log(
    nats_server: NatsServer, attacker: Attacker
) -> None:
    with LogSignals(logging.WARNING) as signals:
        async with running(nats_server.url, KnownKeys.of(SHOP, capabilities=ALL)):
            for subject, body in SUBJECTS.items():
                for text in ('"' * 1_000_000, "\x1b[2J\u2028" * 20):
                    replies = [
                        attacker.send(
                            subject,
                            body,
                            [("session-key", text), ("proof", "A" * 86), ("request-id", "r"), ("iat", "x")],
                        )
                        for _ in range(5)
                    ]
                    assert await attacker.reasons(replies) == {"invalid_signature"}
                attacker.send(subject, body, [], reply="\x1b[2J")
            await attacker.raw.flush()
            await asyncio.sleep(0)
    texts = [record.getMessage() for record in signals.records]
    assert {record.levelno for record in signals.records} == {logging.WARNING}
    assert len(texts) <= 6 * 3
    assert all(text.isprintable() and len(text) < 1000 for text in texts)


async def test_a_reply_subject_does_not_give_away_the_next(nats_server: NatsServer) -> None:
    """A service may publish to the inboxes of its callers, and so to those of others, whose names it must not know."""
    seen: list[str] = []
    caller = await Connection.open(nats_server.url, settings=ConnectionSettings())

    def answer(message: Message) -> None:
        seen.append(message.reply)
        caller.send(message.reply, b"")

    caller.subscribe("ask", answer)
    for _ in range(3):
        await request(caller, "ask", timeout=timedelta(seconds=5))
    inboxes = [caller.new_inbox() for _ in range(3)]
    await caller.close()

    for names in (seen, inboxes):
        tokens = [name.rpartition(".")[2] for name in names]
        assert all(len(token) >= 24 for token in tokens)
        assert len({token[:4] for token in tokens}) > 1
        assert len({token[-4:] for token in tokens}) > 1
