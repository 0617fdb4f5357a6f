"""The key pair with which a program proves its requests."""

from __future__ import annotations

import os
from typing import Final

from trellis_nats.auth.base64url import decode_base64url, encode_base64url
from trellis_nats.auth.ed25519 import KEY_BYTES, load_key
from trellis_nats.errors import ConfigurationError

__all__ = ["SessionKey"]

_INBOX_CHARACTERS: Final = 16


class SessionKey:
    """The Ed25519 key pair of a program. Neither its `repr` nor an error shows the seed."""

    def __init__(self, seed: bytes) -> None:
        """Load the key of a seed of 32 bytes.

        Raises:
            ConfigurationError: the seed has another size, or PyNaCl is not installed.
        """
        if len(seed) != KEY_BYTES:
            raise ConfigurationError(f"the seed of a session key has {KEY_BYTES} bytes, got {len(seed)}")
        self._key = load_key(seed)
        self.public: Final = encode_base64url(bytes(self._key.verify_key))
        """The public key: 43 characters, base64url without padding. It names the program to others."""

    def __repr__(self) -> str:
        return f"<SessionKey {self.public}>"

    @classmethod
    def generate(cls) -> SessionKey:
        """Return a new key."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def from_seed(cls, text: str) -> SessionKey:
        """Return the key of a seed: 43 characters, base64url without padding.

        Raises:
            ConfigurationError: the text is not a seed.
        """
        try:
            return cls(decode_base64url(text.strip(), size=KEY_BYTES))
        except ValueError:
            raise ConfigurationError(
                "the seed of a session key is 43 characters of A-Z a-z 0-9 _ -, without padding"
            ) from None

    @property
    def seed(self) -> str:
        """The secret: who has it can sign as this program. Store it where only its owner can read it."""
        return encode_base64url(bytes(self._key))

    @property
    def inbox_prefix(self) -> str:
        """The prefix of the inboxes in which the program receives answers. Services refuse to answer elsewhere."""
        return inbox_prefix_of(self.public)

    def sign(self, digest: bytes) -> str:
        """Sign a digest; the signature is 86 characters, base64url without padding."""
        return encode_base64url(self._key.sign(digest).signature)


def inbox_prefix_of(session_key: str) -> str:
    """Return the prefix of the inboxes of the program with a public key (reference, 5.1)."""
    return f"_INBOX.{session_key[:_INBOX_CHARACTERS]}"
