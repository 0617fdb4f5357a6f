"""The proof of one request: what is signed, and how headers carry it (reference, 5.1). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from trellis_nats.auth.base64url import decode_base64url, encode_base64url
from trellis_nats.auth.ed25519 import KEY_BYTES, SIGNATURE_BYTES, is_signed
from trellis_nats.errors import AuthError

__all__ = ["SKEW", "RequestProof", "proof_digest", "read_proof"]

SKEW: Final = 30
"""Seconds by which the clocks of a caller and a service may differ (auth.md)."""

_IAT: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_SESSION_KEY_MAX: Final = 43
"""Characters of 32 bytes in base64url."""
_REQUEST_ID_MAX: Final = 256
"""Of a request id, in characters. A ULID has 26, the ids of the Rust runtime about 30."""


class RequestProof(NamedTuple):
    """The proof of one request, as its headers and its body have it. It says nothing yet about whether it is valid."""

    session_key: str
    """The caller's public key."""
    signature: str
    """Base64url."""
    iat: int
    """When the caller signed, by its clock: seconds since 1970."""
    request_id: str
    subject: str
    payload_hash: bytes
    """SHA-256 of the body."""

    @property
    def payload_hash_text(self) -> str:
        """The hash, base64url."""
        return encode_base64url(self.payload_hash)

    def is_valid(self) -> bool:
        """Return whether the holder of the session key has signed this request. Says nothing about when."""
        try:
            public_key = decode_base64url(self.session_key, size=KEY_BYTES)
            signature = decode_base64url(self.signature, size=SIGNATURE_BYTES)
        except ValueError:
            return False
        digest = proof_digest(
            self.session_key, self.subject, self.payload_hash, str(self.iat), self.request_id
        )
        return is_signed(public_key, signature, digest)


def proof_digest(session_key: str, subject: str, payload_hash: bytes, iat: str, request_id: str) -> bytes:
    """Return what is signed: SHA-256 of the parts, each after its length as four bytes."""
    parts = (session_key.encode(), subject.encode(), payload_hash, iat.encode(), request_id.encode())
    return sha256(b"".join(len(part).to_bytes(4) + part for part in parts)).digest()


def read_proof(headers: Mapping[str, str], subject: str, data: bytes) -> RequestProof:
    """Read the proof of a request. What is longer than a session key is not repeated in the error: it may fill a message.

    Raises:
        AuthError: a header is missing or malformed; the reasons are those of the wire.
    """
    session_key, signature = headers.get("session-key", ""), headers.get("proof", "")
    if not session_key:
        raise AuthError("missing_session_key")
    if not signature:
        raise AuthError("missing_proof")
    if len(session_key) > _SESSION_KEY_MAX:
        raise AuthError("invalid_signature")
    iat, request_id = headers.get("iat", ""), headers.get("request-id", "")
    if not 0 < len(request_id) <= _REQUEST_ID_MAX:
        raise AuthError("invalid_signature")
    if _IAT.fullmatch(iat) is None or str(int(iat)) != iat:
        raise AuthError("invalid_signature", {"sessionKey": session_key})
    return RequestProof(session_key, signature, int(iat), request_id, subject, sha256(data).digest())
