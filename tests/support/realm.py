"""A server of accounts that an operator signed: users have JWTs that expire, from their account or from an auth callout."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, cast

from trellis_nats import Credentials, Permissions
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.auth import SessionKey
from trellis_nats.auth.base64url import decode_base64url
from trellis_nats.auth.ed25519 import is_signed
from trellis_nats.blocking import enter_in_thread
from trellis_nats.testing import NatsServer
from typing_extensions import override

from tests.support.nats_keys import NatsKey, sign_jwt
from tests.support.versions import binary_of

__all__ = ["CalloutRealm", "Realm", "running"]

_UNLIMITED: Final = dict.fromkeys(
    ("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage", "disk_storage"), -1
)
_USER: Final = {"type": "user", "subs": -1, "data": -1, "payload": -1}
_CALLOUT_SUBJECT: Final = "$SYS.REQ.USER.AUTH"


@dataclass
class Realm:
    """The keys of an operator and its accounts."""

    lifetime: timedelta
    """How long a JWT of a user is valid; the server counts in whole seconds."""
    operator: NatsKey = field(default_factory=lambda: NatsKey.new("operator"))
    system: NatsKey = field(default_factory=lambda: NatsKey.new("account"))
    account: NatsKey = field(default_factory=lambda: NatsKey.new("account"))
    revoked: dict[str, int] = field(default_factory=dict[str, int])
    logins: Counter[str] = field(default_factory=Counter[str])
    """How many credentials were made for each program."""

    failure: Exception | None = None
    """If set, `login` raises it."""
    answers_max: int = 1
    """How many answers to one call are allowed."""

    def config(self) -> str:
        """Return the configuration of a server that trusts the operator."""
        jwts = {key: self.account_jwt(key, **claims) for key, claims in self.accounts().items()}
        preload = "\n".join(f"{key.public}: {jwt}" for key, jwt in jwts.items())
        # Always the same: a server refuses to reload another one.
        operator = sign_jwt(self.operator, self.operator.public, {"type": "operator"}, iat=0, jti="0")
        return (
            f"operator: {operator}\nresolver: MEMORY\nsystem_account: {self.system.public}\n"
            f"resolver_preload {{\n{preload}\n}}"
        )

    def accounts(self) -> dict[NatsKey, dict[str, object]]:
        """Return the accounts, with what their JWTs claim besides limits."""
        revoked: dict[str, object] = {"revocations": self.revoked} if self.revoked else {}
        return {self.system: {}, self.account: revoked}

    def account_jwt(self, key: NatsKey, **claims: object) -> str:
        limits = {**_UNLIMITED, "wildcards": True}
        if key == self.system:
            limits = {name: limit for name, limit in limits.items() if "storage" not in name}
        return sign_jwt(self.operator, key.public, {"type": "account", "limits": limits, **claims})

    def user_jwt(
        self, user: str, *, lifetime: timedelta | None = None, permissions: Permissions | None = None
    ) -> str:
        expires = int(time.time() + (lifetime or self.lifetime).total_seconds())
        return sign_jwt(self.account, user, {**_USER, **_limits(permissions, self.answers_max)}, exp=expires)

    def reload(self, server: NatsServer) -> None:
        """Let a server take on what has changed, for example `revoked`."""
        file = server.store / "server.conf"
        head, _, _ = file.read_text().partition("operator:")
        file.write_text(head + self.config())
        os.kill(server.pid, signal.SIGHUP)

    def login(self, program: str) -> Credentials:
        """Return new credentials of a program."""
        self.logins[program] += 1
        if self.failure is not None:
            raise self.failure
        user = NatsKey.new("user")
        return Credentials(jwt=self.user_jwt(user.public), seed=user.seed)


@dataclass
class CalloutRealm(Realm):
    """A realm in which each user but one logs in as a sentinel, with a signed token: a callout decides what it may do."""

    sentinels: NatsKey = field(default_factory=lambda: NatsKey.new("account"))
    """The account of the sentinels, and of the callout."""
    callout: NatsKey = field(default_factory=lambda: NatsKey.new("user"))
    rights: dict[str, Permissions | None] = field(default_factory=dict[str, "Permissions | None"])
    """What each program may do; None: everything. The others are refused."""
    keys: dict[str, SessionKey] = field(default_factory=lambda: defaultdict(SessionKey.generate))
    """The session key of each program."""
    digests: set[str] | None = None
    """The contracts that have a place. None: all of them."""
    refused: list[str] = field(default_factory=list[str])
    """Why a login was refused."""

    @override
    def accounts(self) -> dict[NatsKey, dict[str, object]]:
        authorization = {"auth_users": [self.callout.public], "allowed_accounts": [self.account.public]}
        return {**super().accounts(), self.sentinels: {"authorization": authorization}}

    @override
    def login(self, program: str) -> Credentials:
        """Return a sentinel that may do nothing, and a token of this moment."""
        self.logins[program] += 1
        key = self.keys[program]
        user, nothing = NatsKey.new("user"), {"deny": [">"]}
        jwt = sign_jwt(self.sentinels, user.public, {**_USER, "pub": nothing, "sub": nothing})
        issued, digest = int(time.time()), "d" * 43
        token = {"v": 1, "sessionKey": key.public, "iat": issued, "contractDigest": digest}
        signed = {**token, "sig": key.sign(_digest(issued, digest))}
        return Credentials(jwt=jwt, seed=user.seed, token=json.dumps(signed))

    @asynccontextmanager
    async def answering(self, server: NatsServer) -> AsyncGenerator[None]:
        """Answer the server's questions."""
        jwt = sign_jwt(self.sentinels, self.callout.public, {**_USER, "pub": {}, "sub": {}})
        settings = ConnectionSettings(jwt=jwt, seed=self.callout.seed)
        connection = await Connection.open(server.url, settings=settings)
        connection.subscribe(_CALLOUT_SUBJECT, lambda question: self._answer(connection, question))
        await connection.flush()
        yield
        await connection.close()

    def _answer(self, connection: Connection, question: Message) -> None:
        asked = _claims(question.data.decode())
        try:
            answer: dict[str, object] = {"jwt": self._admit(asked)}
        except ValueError as error:
            self.refused.append(str(error))
            answer = {"error": str(error)}
        user, server = asked["nats"]["user_nkey"], asked["nats"]["server_id"]["id"]
        answered = sign_jwt(self.sentinels, user, {"type": "authorization_response", **answer}, aud=server)
        connection.send(question.reply, answered.encode())

    def _admit(self, asked: dict[str, Any]) -> str:
        token = json.loads(asked["nats"]["connect_opts"].get("auth_token") or "null")
        if token is None:
            raise ValueError("no token")
        public, issued, digest = token["sessionKey"], token["iat"], token["contractDigest"]
        program = next((name for name, key in self.keys.items() if key.public == public), None)
        if program is None or program not in self.rights:
            raise ValueError("unknown key")
        if self.digests is not None and digest not in self.digests:
            raise ValueError("contract changed")
        if not is_signed(
            decode_base64url(public, size=32),
            decode_base64url(token["sig"], size=64),
            _digest(issued, digest),
        ):
            raise ValueError("bad signature")
        if time.time() - issued > self.lifetime.total_seconds():
            raise ValueError("old token")
        return self.user_jwt(asked["nats"]["user_nkey"], permissions=self.rights[program])


def _digest(issued: int, digest: str) -> bytes:
    return hashlib.sha256(f"nats-connect:{issued}:{digest}".encode()).digest()


def _claims(jwt: str) -> dict[str, Any]:
    body = jwt.split(".")[1]
    return cast("dict[str, Any]", json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))


def _limits(permissions: Permissions | None, answers_max: int) -> dict[str, object]:
    """Return the claims of a user's JWT for what it may do."""
    if permissions is None:
        return {"pub": {}, "sub": {}}
    limits: dict[str, object] = {
        "pub": {"allow": permissions.publish},
        "sub": {"allow": permissions.subscribe},
    }
    if permissions.allow_responses is not None:
        limits["resp"] = {
            "max": answers_max,
            "ttl": permissions.allow_responses // timedelta(microseconds=1) * 1000,
        }
    return limits


@asynccontextmanager
async def running(realm: Realm, version: str | None = None) -> AsyncGenerator[NatsServer]:
    """Run a server of the realm, with its callout if it has one."""
    async with NatsServer(
        config=realm.config(), binary=None if version is None else binary_of(version)
    ) as server:
        if isinstance(realm, CalloutRealm):
            # In a thread of its own, so that a handler which blocks the event loop of a test does not block the callout.
            with enter_in_thread(realm.answering(server), name="callout"):
                yield server
        else:
            yield server
