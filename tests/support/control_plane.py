"""A control plane for tests, on loopback: bootstrap over HTTP, and Validate over NATS, as the reference one answers."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NamedTuple

from pydantic import JsonValue
from trellis_nats.auth.base64url import decode_base64url
from trellis_nats.auth.ed25519 import is_signed

from tests.support.listening import listening
from trellis_codegen.contract.digest import compute_digest
from trellis_codegen.contract.reading import read_manifest

__all__ = ["SENTINEL_JWT", "ControlPlane", "HttpReply"]

SENTINEL_JWT: Final = "sentinel.user.jwt"
SKEW: Final = 30


class HttpReply(NamedTuple):
    """What the control plane answers over HTTP."""

    status: int
    body: JsonValue | bytes
    headers: Mapping[str, str] = {}


@dataclass
class ControlPlane:
    """One deployment, and what an administrator has done with it."""

    servers: list[str] = field(default_factory=lambda: ["nats://127.0.0.1:4222"])
    provisioned: set[str] = field(default_factory=set[str])
    """The session keys of its instances."""
    disabled: set[str] = field(default_factory=set[str])
    digests: set[str] = field(default_factory=set[str])
    """The contracts that it knows."""
    waits_for: str | None = None
    """The state in which instances wait; None: they may connect."""
    resources: JsonValue = field(default_factory=dict[str, JsonValue])
    jwt: str = SENTINEL_JWT
    seed: str = "SU-sentinel-seed"
    clock_ahead: float = 0.0
    """Seconds by which its clock is ahead of that of this machine."""
    retry_after: str | None = None
    scripted: deque[HttpReply | None] = field(default_factory=deque[HttpReply | None])
    """Answers that come before all others; None: the connection is closed without one."""
    requests: list[dict[str, JsonValue]] = field(default_factory=list[dict[str, JsonValue]])
    answers: Counter[str] = field(default_factory=Counter[str])
    """How often each reason was the answer; `ready` is one too."""
    url: str = ""

    @property
    def now(self) -> int:
        return int(time.time() + self.clock_ahead)

    @asynccontextmanager
    async def standing(
        self, port: int = 0, *, tls: ssl.SSLContext | None = None
    ) -> AsyncGenerator[ControlPlane]:
        """Answer for the length of a block."""
        async with listening(self._serve, port=port, tls=tls) as bound:
            self.url = f"http://127.0.0.1:{bound}" if tls is None else f"https://localhost:{bound}"
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): text.strip() for name, _, text in (each.partition(":") for each in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        assert line == "POST /bootstrap/service HTTP/1.1"
        assert headers["content-type"] == "application/json"
        request: dict[str, JsonValue] = json.loads(body)
        self.requests.append(request)
        reply = self.scripted.popleft() if self.scripted else self.answer(request)
        if reply is None:
            return
        if isinstance(reply.body, dict):
            self.answers[str(reply.body.get("reason", reply.body.get("status")))] += 1
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        extra = {"Content-Length": str(len(data)), "Content-Type": "application/json", **reply.headers}
        if self.retry_after is not None:
            extra["Retry-After"] = self.retry_after
        fields = "".join(f"{name}: {text}\r\n" for name, text in extra.items())
        writer.write(f"HTTP/1.1 {reply.status} Whatever\r\n{fields}\r\n".encode() + data)
        await writer.drain()

    def answer(self, request: dict[str, JsonValue]) -> HttpReply:
        """Answer in the order of the reference: form, signature, time, instance, contract, authority."""
        match request:
            case {
                "sessionKey": str(session_key),
                "contractId": str(contract_id),
                "contractDigest": str(digest),
                "iat": int(iat),
                "sig": str(signature),
            }:
                pass
            case _:
                return HttpReply(400, {"reason": "invalid_request"})
        text = sha256(f"nats-connect:{iat}:{digest}".encode()).digest()
        if not is_signed(decode_base64url(session_key, size=32), decode_base64url(signature, size=64), text):
            return HttpReply(400, {"reason": "invalid_signature"})
        if abs(self.now - iat) > SKEW:
            return HttpReply(400, {"reason": "iat_out_of_range", "serverNow": self.now})
        if session_key not in self.provisioned:
            return HttpReply(
                404, {"reason": "unknown_service", "message": f"'{session_key}' is not provisioned."}
            )
        facts: dict[str, JsonValue] = {"deploymentId": "orders", "contractId": contract_id}
        if session_key in self.disabled:
            return HttpReply(403, {"reason": "service_disabled", "message": "It is disabled.", **facts})
        if "contract" in request:
            presented = compute_digest(read_manifest(json.dumps(request["contract"]).encode()).manifest)
            if presented != digest:
                return HttpReply(409, {"reason": "presented_contract_digest_mismatch", **facts})
            self.digests.add(digest)
        if digest not in self.digests:
            return HttpReply(409, {"reason": "manifest_required", "message": "It is needed.", **facts})
        if self.waits_for is not None:
            return HttpReply(
                202, {"reason": self.waits_for, "message": "A plan is pending.", "planId": "01PLAN", **facts}
            )
        return HttpReply(200, self.ready(session_key, contract_id, digest))

    def ready(self, session_key: str, contract_id: str, digest: str) -> dict[str, JsonValue]:
        """Return the answer that lets an instance connect."""
        return {
            "status": "ready",
            "serverNow": self.now,
            "connectInfo": {
                "sessionKey": session_key,
                "contractId": contract_id,
                "contractDigest": digest,
                "transports": {
                    "native": {"natsServers": list[JsonValue](self.servers)},
                    "websocket": {"natsServers": ["ws://127.0.0.1:1"]},
                },
                "transport": {"sentinel": {"jwt": self.jwt, "seed": self.seed}},
                "auth": {"mode": "service_identity", "iatSkewSeconds": 30},
            },
            "contract": {"id": contract_id, "digest": digest},
            "binding": {"contractId": contract_id, "digest": digest, "resources": self.resources},
        }
