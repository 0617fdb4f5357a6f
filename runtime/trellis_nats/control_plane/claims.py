"""What a service signs for a control plane: the request to join, and the token of each connection (auth.md). Pure."""

from __future__ import annotations

from hashlib import sha256

from pydantic import JsonValue

from trellis_nats.auth import SessionKey
from trellis_nats.codec import encode_json
from trellis_nats.contract import Contract

__all__ = ["bootstrap_request", "connect_token"]


def bootstrap_request(
    key: SessionKey, contract: Contract, iat: int, manifest: JsonValue | None = None
) -> bytes:
    """Return the body of the request to join, with the manifest of the contract where it is asked for."""
    body: dict[str, JsonValue] = {
        "sessionKey": key.public,
        "contractId": contract.id,
        "contractDigest": contract.digest,
        "iat": iat,
        "sig": _sign(key, contract, iat),
    }
    return encode_json(body if manifest is None else {**body, "contract": manifest})


def connect_token(key: SessionKey, contract: Contract, iat: int) -> str:
    """Return the token for one connection to NATS: it is accepted for 30 s."""
    token: dict[str, JsonValue] = {
        "v": 1,
        "sessionKey": key.public,
        "iat": iat,
        "contractDigest": contract.digest,
        "sig": _sign(key, contract, iat),
    }
    return encode_json(token).decode()


def _sign(key: SessionKey, contract: Contract, iat: int) -> str:
    return key.sign(sha256(f"nats-connect:{iat}:{contract.digest}".encode()).digest())
