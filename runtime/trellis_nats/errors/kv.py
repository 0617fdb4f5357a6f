"""What a bucket can refuse."""

from __future__ import annotations

from trellis_nats.errors.base import TrellisError

__all__ = ["InvalidKey", "KeyExists", "KvError", "RevisionMismatch"]


class KvError(TrellisError):
    """A bucket could not do what was asked."""

    def __init__(self, message: str, *, bucket: str, key: str) -> None:
        super().__init__(f'{message}: key "{key}" of bucket "{bucket}"')
        self.bucket = bucket
        self.key = key


class KeyExists(KvError):
    """`create` found a value under the key."""


class RevisionMismatch(KvError):
    """`update` or `delete` found another revision than the one it was given."""


class InvalidKey(KvError):
    """NATS does not allow the key, and nothing was sent."""
