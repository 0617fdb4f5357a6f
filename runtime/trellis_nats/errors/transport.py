"""NATS could not do what was asked."""

from __future__ import annotations

from trellis_nats.errors.base import TrellisError

__all__ = [
    "ApiError",
    "CannotConnect",
    "KeyContended",
    "MalformedJobEvent",
    "MalformedKeyRecord",
    "NoResponders",
    "NotConnected",
    "PayloadTooLarge",
    "PermissionDenied",
    "RequestTimeout",
    "TransportError",
    "WriteUnknown",
    "WrongLastSequence",
]


class TransportError(TrellisError):
    """NATS could not do what was asked."""


class CannotConnect(TransportError):
    """The first connection failed. The text names the server, never a credential."""


class NotConnected(TransportError):
    """There is no connection to the server now. Nothing was sent."""


class RequestTimeout(TransportError):
    """Nobody answered in time."""


class NoResponders(TransportError):
    """Nobody listens on the subject, or the stream behind it does not exist."""


class PermissionDenied(TransportError):
    """The account may not publish or subscribe to the subject."""

    def __init__(self, operation: str, subject: str) -> None:
        super().__init__(f'the account may not {operation} "{subject}"')
        self.operation = operation
        """`publish to` or `subscribe to`."""
        self.subject = subject


class PayloadTooLarge(TransportError):
    """The message is larger than the server takes. Nothing was sent."""

    def __init__(self, subject: str, *, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f'{size_bytes} bytes for "{subject}" are more than the {limit_bytes} that the server takes'
        )
        self.subject = subject
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class ApiError(TransportError):
    """JetStream answered with an error."""

    def __init__(self, *, request: str, code: int, err_code: int, description: str) -> None:
        super().__init__(f"{request}: {description} (code {code}, err_code {err_code})")
        self.request = request
        self.code = code
        self.err_code = err_code
        self.description = description


class WrongLastSequence(ApiError):
    """Somebody else wrote first, so that a compare-and-set write was refused."""


class MalformedJobEvent(TransportError):
    """What is stored in a job's history cannot be read. It is left as it is, and the job is not begun."""

    def __init__(self, subject: str, *, stream: str, sequence: int) -> None:
        super().__init__(
            f'message {sequence} of stream "{stream}", on "{subject}", is no lifecycle event that this version can read. '
            "It is left as it is: run the version that wrote it, or delete the message"
        )
        self.subject = subject
        self.stream = stream
        self.sequence = sequence


class MalformedKeyRecord(TransportError):
    """What is stored for a concurrency key cannot be read. It is left as it is, and no job of the key is begun."""

    def __init__(self, key: str, *, bucket: str, name: str, problem: str) -> None:
        super().__init__(
            f'key "{key}": the record "{name}" of bucket "{bucket}" cannot be read: {problem}. It is left as it is; an '
            "operator may delete it once no job of the key runs"
        )
        self.key = key
        self.bucket = bucket
        self.name = name
        """The record's key in the bucket."""


class KeyContended(TransportError):
    """So many others changed the record of a concurrency key that no write of ours came through. Nothing was stored."""


class WriteUnknown(TransportError):
    """The answer to a write was lost. The write may have been stored, now or a moment later."""
