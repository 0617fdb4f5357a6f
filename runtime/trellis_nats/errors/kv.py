"""Errors of key-value buckets."""

from __future__ import annotations

from trellis_nats.errors.base import TrellisError

__all__ = ["InvalidKey", "KeyExists", "KvError", "RevisionMismatch"]


class KvError(TrellisError):
    """The root of the bucket errors.

    Remedy: Catch a subclass.
    """

    def __init__(self, message: str, *, bucket: str, key: str) -> None:
        super().__init__(f'{message}: key "{key}" of bucket "{bucket}"')
        self.bucket = bucket
        self.key = key


class KeyExists(KvError):
    """`create` found an existing value under the key.

    Remedy: Read the value with `get`, and `update` it, or use `put` to write in any case.
    """


class RevisionMismatch(KvError):
    """The key has another revision than the one given to `update` or `delete`.

    Remedy: Read the entry again, apply the change to it, and `update` again.
    """


class InvalidKey(KvError):
    """The key is not legal in NATS; nothing was sent.

    Remedy: Use 1 to 512 characters of `A-Z a-z 0-9 - / _ = .`, without a dot at either end.
    """
