"""Errors of object stores and of transfers."""

from __future__ import annotations

from collections.abc import Mapping

from trellis_nats.errors.base import TrellisError
from trellis_nats.errors.rpc import RpcError

__all__ = [
    "InvalidObjectKey",
    "ObjectDamaged",
    "ObjectExists",
    "ObjectReplaced",
    "ObjectTooLarge",
    "StoreError",
    "StoreFull",
    "TransferError",
    "UploadFailed",
]


class StoreError(TrellisError):
    """The root of the store errors.

    Remedy: Catch a subclass.
    """

    def __init__(self, message: str, *, store: str, key: str) -> None:
        super().__init__(f'{message}: object "{key}" of store "{store}"')
        self.store = store
        self.key = key


class InvalidObjectKey(StoreError):
    """The key is empty, too long, or contains control characters; nothing was sent.

    Remedy: Use a shorter key without control characters.
    """


class ObjectExists(StoreError):
    """`create` found an object under the key; nothing was stored.

    Remedy: Use another key, or `put`, which replaces the object.
    """


class ObjectTooLarge(StoreError):
    """The object exceeds `maxObjectBytes` of the contract; nothing was stored.

    Remedy: Store a smaller object, or raise `maxObjectBytes`.
    """


class StoreFull(StoreError):
    """The objects of the store together would exceed its limit; nothing was stored.

    Remedy: Delete objects, set `ttlMs`, or raise `maxTotalBytes`.
    """


class ObjectReplaced(StoreError):
    """The object was replaced or deleted while it was read. What was read belongs to the old one; read again.

    Remedy: Read the object again.
    """


class ObjectDamaged(StoreError):
    """What is stored does not match the object's size or digest, or parts of it are missing.

    Remedy: Store the object again. Look at the stream of the store: messages of it were deleted.
    """


class TransferError(RpcError):
    """A transfer failed: a download, or the upload of an operation.

    Remedy: Start the call again, unless `reason` says that the object is too large.
    """

    def __init__(self, operation: str, reason: str, context: Mapping[str, object] | None = None) -> None:
        details = "".join(f", {name} {value}" for name, value in (context or {}).items())
        super().__init__(f"Transfer {operation} failed: {reason}{details}")
        self.operation = operation
        """`get`, `put` or `transfer`."""
        self.reason = reason
        """For example `expired`, `max_bytes_exceeded` or `session_closed`."""
        self.context: Mapping[str, object] = dict(context or {})
        """What else the other side sent about it, for example `maxBytes`."""
        self.id: str | None = None
        """The id that the service assigned; None for an error that this side found."""


class UploadFailed(TransferError):
    """`operation.upload` failed: nothing is stored. Where the handler does not catch it, its caller gets the `TransferError`.

    Remedy: Let the handler fail: its caller gets the `TransferError` and starts again.
    """
