"""NATS keys and the JWTs that they sign, made by hand: operators, accounts, users, and the answers of an auth callout."""

from __future__ import annotations

import base64
import binascii
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from nacl.signing import SigningKey

__all__ = ["NatsKey", "sign_jwt"]

_PREFIXES: Final = {"server": 13 << 3, "operator": 14 << 3, "account": 0, "user": 20 << 3}
_SEED: Final = 18 << 3


@dataclass(frozen=True, slots=True)
class NatsKey:
    """A key pair, with its texts as NATS writes them."""

    prefix: int
    raw: bytes

    @classmethod
    def new(cls, kind: Literal["server", "operator", "account", "user"]) -> NatsKey:
        return cls(_PREFIXES[kind], os.urandom(32))

    @property
    def public(self) -> str:
        return _encode(bytes([self.prefix]) + bytes(SigningKey(self.raw).verify_key))

    @property
    def seed(self) -> str:
        return _encode(bytes([_SEED | self.prefix >> 5, (31 & self.prefix) << 3]) + self.raw)

    def sign(self, message: bytes) -> bytes:
        return SigningKey(self.raw).sign(message).signature


def sign_jwt(issuer: NatsKey, subject: str, nats: Mapping[str, object], **claims: object) -> str:
    """Return a JWT of version 2; `nats` are the claims of its type, `claims` others, such as `exp` in seconds."""
    body = {"jti": os.urandom(8).hex(), "iat": int(time.time()), "iss": issuer.public, "sub": subject}
    content = {**body, **claims, "nats": {**nats, "version": 2}}
    signed = f"{_to_json({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_to_json(content)}"
    return f"{signed}.{_base64(issuer.sign(signed.encode()))}"


def _to_json(value: object) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _encode(data: bytes) -> str:
    checksum = binascii.crc_hqx(data, 0).to_bytes(2, "little")
    return base64.b32encode(data + checksum).rstrip(b"=").decode()
