"""The part of a control plane for tests that answers Validate: it checks proofs, remembers them, and knows capabilities."""

from __future__ import annotations

import asyncio
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pydantic import JsonValue
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.auth.request_proof import RequestProof, read_proof
from trellis_nats.codec import decode_json, encode_json
from trellis_nats.ids import new_id

__all__ = ["Judge"]

SUBJECT = "rpc.v1.Auth.Requests.Validate"
SKEW = 30


@dataclass
class Judge:
    """Who may do what, and what was asked."""

    callers: dict[str, dict[str, JsonValue]] = field(default_factory=dict[str, dict[str, JsonValue]])
    """The sessions, as Validate describes their callers."""
    services: set[str] = field(default_factory=set[str])
    """The session keys that may ask."""
    clock_ahead: float = 0.0
    raw: bytes | None = None
    """If set, the answer to everything."""
    asked: list[dict[str, JsonValue]] = field(default_factory=list[dict[str, JsonValue]])
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    """Clear it to be slow."""
    replays: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def __post_init__(self) -> None:
        self.may_answer.set()

    def let_in(self, session_key: str, *capabilities: str) -> None:
        """Open a session of a service."""
        self.callers[session_key] = {
            "type": "service",
            "id": session_key,
            "name": "shop",
            "active": True,
            "capabilities": list[JsonValue](capabilities),
        }

    @property
    def request_ids(self) -> list[JsonValue]:
        """The requests about which was asked."""
        return [each["requestId"] for each in self.asked]

    @asynccontextmanager
    async def answering(
        self, url: str, settings: ConnectionSettings | None = None
    ) -> AsyncGenerator[Connection]:
        """Answer for the length of a block."""
        connection = await Connection.open(url, settings=settings or ConnectionSettings())
        running: set[asyncio.Task[None]] = set()

        def on_message(message: Message) -> None:
            task = asyncio.create_task(self._answer(connection, message))
            running.add(task)
            task.add_done_callback(running.discard)

        connection.subscribe(SUBJECT, on_message)
        await connection.flush()
        try:
            yield connection
        finally:
            for task in running:
                task.cancel()
            await connection.close()

    async def _answer(self, connection: Connection, message: Message) -> None:
        asked = decode_json(message.data)
        assert isinstance(asked, dict)
        self.asked.append(asked)
        await self.may_answer.wait()
        await connection.wait_connected()
        if self.raw is not None:
            connection.send(message.reply, self.raw)
            return
        reason, answer = self._judge(message, asked)
        if reason is None:
            connection.send(message.reply, encode_json(answer))
            return
        error: dict[str, JsonValue] = {
            "id": new_id(),
            "type": "AuthError",
            "message": f"Auth failed: {reason}",
            "context": {
                "method": "Auth.Requests.Validate",
                "requestId": message.headers.get("request-id", ""),
                "service": "trellis",
            },
            "reason": reason,
        }
        connection.send(message.reply, encode_json(error), headers={"status": "error"})

    def _judge(
        self, message: Message, asked: dict[str, JsonValue]
    ) -> tuple[str | None, dict[str, JsonValue]]:
        question = read_proof(message.headers, SUBJECT, message.data)
        assert question.is_valid()
        assert question.session_key in self.services
        assert message.reply.startswith(f"_INBOX.{question.session_key[:16]}.")
        match asked:
            case {
                "sessionKey": str(session_key),
                "proof": str(signature),
                "subject": str(subject),
                "payloadHash": str(payload_hash),
                "iat": int(iat),
                "requestId": str(request_id),
                "capabilities": list(capabilities),
            }:
                pass
            case _:
                raise AssertionError(asked)
        hash_bytes = urlsafe_b64decode(payload_hash + "=")
        proof = RequestProof(session_key, signature, iat, request_id, subject, hash_bytes)
        now = time.time() + self.clock_ahead
        if abs(now - iat) > SKEW or abs(now - question.iat) > SKEW:
            return "iat_out_of_range", {}
        if not proof.is_valid() or (session_key, request_id) in self.replays:
            return "invalid_signature", {}
        self.replays.add((session_key, request_id))
        caller = self.callers.get(session_key)
        if caller is None:
            return "session_not_found", {}
        held = caller["capabilities"]
        assert isinstance(held, list)
        return None, {
            "allowed": all(each in held for each in capabilities),
            "inboxPrefix": f"_INBOX.{session_key[:16]}",
            "caller": caller,
            "new": "member",
        }
