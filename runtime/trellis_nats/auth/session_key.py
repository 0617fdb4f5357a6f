"""The key pair with which a program proves its requests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from trellis_nats.auth.base64url import decode_base64url, encode_base64url
from trellis_nats.auth.ed25519 import KEY_BYTES, load_key, require_ed25519
from trellis_nats.auth.owned_files import find_fault_of_secret, read_owned
from trellis_nats.errors import ConfigurationError

__all__ = ["SessionKey", "inbox_prefix_of", "key_token"]

_TOKEN_CHARACTERS: Final = 16
_FILE_MAX: Final = 4096
"""Bytes of a file with a seed: one line of 43 characters, and comments."""
_WRONG_SEED: Final = "the seed of a session key is 43 characters of A-Z a-z 0-9 _ -, without padding"


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
        """Return a new key. Its public key does not begin with `-`: a command would take that for an option."""
        while (key := cls(os.urandom(KEY_BYTES))).public.startswith("-"):
            pass
        return key

    @classmethod
    def from_seed(cls, text: str) -> SessionKey:
        """Return the key of a seed: 43 characters, base64url without padding.

        Raises:
            ConfigurationError: the text is not a seed.
        """
        try:
            return cls(decode_base64url(text.strip(), size=KEY_BYTES))
        except ValueError:
            raise ConfigurationError(_WRONG_SEED) from None

    @classmethod
    def from_file(cls, path: str | Path) -> SessionKey:
        """Return the key of a file: a line with the seed, as `trellis callers new` writes it. Lines that begin with `#` are comments.

        Only the owner may be able to read the file, who is the user of this process, or root. Of a file of root its group
        may read it too, as of a Kubernetes secret with `fsGroup`. A symbolic link is followed if it is of one of these users.

        Raises:
            ConfigurationError: the file is missing or can be read by others, or has something else; no text shows what.
        """
        require_ed25519()
        what, path = "the file of a session key", Path(path)
        # No variable of this frame has the text: tools that report errors show variables.
        read = cls._read(
            read_owned(path, what=what, size_max=_FILE_MAX, find_fault=find_fault_of_secret)[0].decode(
                errors="replace"
            )
        )
        if isinstance(read, str):
            raise ConfigurationError(f"{what} {path} {read}")
        return read

    @classmethod
    def from_environment(cls, name: str) -> SessionKey:
        """Return the key of an environment variable: the seed. Prefer a file: child processes inherit variables.

        Raises:
            ConfigurationError: the variable is not set, or has something else; no text shows what.
        """
        require_ed25519()
        if name not in os.environ:
            raise ConfigurationError(
                f"environment variable {name} is not set: it must have the seed of a session key"
            )
        read = cls._read(os.environ[name])
        if isinstance(read, str):
            raise ConfigurationError(f"environment variable {name} {read}")
        return read

    @classmethod
    def _read(cls, text: str) -> SessionKey | str:
        """Return the key of a text, or what is wrong with it."""
        lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
        if not lines:
            return "is empty: trellis callers new writes a key"
        if len(lines) > 1:
            return f"has {len(lines)} lines with text: a seed is one"
        try:
            return cls(decode_base64url(lines[0], size=KEY_BYTES))
        except ValueError:
            return f"has something else than a seed: {_WRONG_SEED}"

    @property
    def seed(self) -> str:
        """The secret: its holder can sign as this program. Store it where only its owner can read it."""
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
    return f"_INBOX.{key_token(session_key)}"


def key_token(session_key: str) -> str:
    """Return what stands for the program with a public key in subjects: the beginning of the key."""
    return session_key[:_TOKEN_CHARACTERS]
