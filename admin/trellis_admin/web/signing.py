"""Signs what travels through a browser and comes back."""

from __future__ import annotations

import base64
import hmac
import json
from hashlib import sha256

from pydantic import JsonValue

__all__ = ["sign", "unsign"]


def sign(purpose: str, value: JsonValue, secret: bytes) -> str:
    """Return a value as text that only this console can have made, for one purpose."""
    body = base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
    return f"{body}.{_seal(purpose, body, secret)}"


def unsign(purpose: str, text: str, secret: bytes) -> JsonValue:
    """Return the value of a text; None if this console did not make it for this purpose."""
    body, _, seal = text.partition(".")
    if not hmac.compare_digest(seal.encode(), _seal(purpose, body, secret).encode()):
        return None
    value: JsonValue = json.loads(base64.urlsafe_b64decode(body))
    return value


def _seal(purpose: str, body: str, secret: bytes) -> str:
    return hmac.new(secret, f"{purpose}:{body}".encode(), sha256).hexdigest()
