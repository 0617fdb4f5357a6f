"""NATS failed: connection, server, stream or permission."""

from __future__ import annotations

from typing import ClassVar

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
    """NATS failed: connection, server, stream or permission.

    Remedy: Retry later. Handlers need not catch it: their job runs again.
    """


class CannotConnect(TransportError):
    """The first connection failed. The text names the server, never a credential.

    Remedy: Check the address, that the server runs there, and the credentials. `trellis doctor` checks the
    rest.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.note_remedy()


class NotConnected(TransportError):
    """There is no connection to the server. Nothing was sent.

    Remedy: Wait: the connection is restored in the background. `/readyz` is red until then. If the text says that the
    connection is closed, the `connect` block of the service or client has ended: use it inside the block.
    """

    CLOSED: ClassVar[str] = "the connection is closed"


class RequestTimeout(TransportError):
    """No reply arrived in time.

    Remedy: Repeat the call if doing it twice does no harm: the other side may have done it.
    """


class NoResponders(TransportError):
    """No process listens on the subject, or the stream behind it does not exist or does not allow direct reads.

    Remedy: Start the service that answers, or run `trellis provision apply PACKAGE` if a stream is missing. If it exists
    and the subject has `DIRECT.GET`, run `nats stream edit STREAM --allow-direct`.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.note_remedy()


class PermissionDenied(TransportError):
    """The account may not publish or subscribe to the subject.

    Remedy: Give the account the permission for `subject`: `trellis permissions ROLE PACKAGE` prints what
    a role needs.
    """

    def __init__(self, operation: str, subject: str) -> None:
        super().__init__(f'the account may not {operation} "{subject}"')
        self.operation = operation
        """`publish to` or `subscribe to`."""
        self.subject = subject
        self.note_remedy()


class PayloadTooLarge(TransportError):
    """The message exceeds the limit of the server or the bucket. Nothing was stored.

    Remedy: Keep large data in a store and send its key, or raise `max_payload` of the server.
    """

    def __init__(self, subject: str, *, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f'a message of {size_bytes} bytes to "{subject}" exceeds the limit of {limit_bytes} bytes'
        )
        self.subject = subject
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class ApiError(TransportError):
    """JetStream answered with an error.

    Remedy: Search for `err_code` in the documentation of nats-server; `trellis doctor` names what is
    wrong with streams and consumers.
    """

    def __init__(self, *, request: str, code: int, err_code: int, description: str) -> None:
        super().__init__(f"{request}: {description} (code {code}, err_code {err_code})")
        self.request = request
        self.code = code
        self.err_code = err_code
        self.description = description


class WrongLastSequence(ApiError):
    """A compare-and-set write was refused because another writer was first.

    Remedy: Read again what is stored, and decide again.
    """


class MalformedJobEvent(TransportError):
    """An event in a job's history cannot be parsed. It is left in place, and the job does not start.

    Remedy: Run the version that wrote the event, or delete the message after looking at it.
    """

    def __init__(self, subject: str, *, stream: str, sequence: int) -> None:
        super().__init__(
            f'message {sequence} of stream "{stream}", on "{subject}", is not a lifecycle event that this version can parse. '
            "It is left in place: run the version that wrote it, or delete the message"
        )
        self.subject = subject
        self.stream = stream
        self.sequence = sequence


class MalformedKeyRecord(TransportError):
    """The record of a concurrency key cannot be parsed. It is left in place, and no job of the key starts.

    Remedy: Delete the record when no job of the key runs.
    """

    def __init__(self, key: str, *, bucket: str, name: str, problem: str) -> None:
        super().__init__(
            f'key "{key}": the record "{name}" of bucket "{bucket}" cannot be parsed: {problem}. It is left in '
            "place; an operator may delete it when no job of the key runs"
        )
        self.key = key
        self.bucket = bucket
        self.name = name
        """The record's key in the bucket."""


class KeyContended(TransportError):
    """Other writers changed the record of a concurrency key so often that no write succeeded. Nothing was stored.

    Remedy: Create the job again after a moment, or spread the jobs over more keys.
    """


class WriteUnknown(TransportError):
    """The acknowledgement of a write was lost. The write may be stored, now or a moment later.

    Remedy: Look at whether it is stored, or repeat the write with the same idempotency key or id.
    """
