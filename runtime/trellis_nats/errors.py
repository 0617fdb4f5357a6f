"""Every error of the runtime, in one tree.

TrellisError
├── ConfigurationError            the program or its settings are wrong; retrying does not help
│   ├── IncompatiblePackage       the generated package and this runtime do not fit together
│   ├── HandlerConflict           a second handler, or one registered after the start
│   ├── KeyedQueueUnsupported     a queue with keyConcurrency, which this version cannot run yet
│   └── ProvisioningError         streams, consumers or buckets are missing or differ
├── TransportError                NATS could not do what was asked
│   ├── CannotConnect             the first connection failed
│   ├── NotConnected              there is no connection now; nothing was sent
│   ├── RequestTimeout            nobody answered in time
│   ├── NoResponders              nobody listens on the subject
│   ├── PermissionDenied          the account may not use the subject
│   ├── PayloadTooLarge           the server would refuse the message; nothing was sent
│   ├── ApiError                  JetStream answered with an error
│   │   └── WrongLastSequence     somebody else wrote first (compare-and-set)
│   └── WriteUnknown              the answer to a write was lost; it may have been stored
├── InvalidPayload                a value does not match its schema
├── JobError
│   ├── JobFailed                 raise it in a handler to fail without a retry; raised by `result()`
│   ├── JobRetry                  raise it in a handler to be tried again after a given time
│   ├── JobCancelled              raise it in a handler that stops early; raised by `result()`
│   ├── JobExpired                the job's deadline passed
│   ├── JobSkipped                a newer job took its place
│   └── JobNotFound               no such job is stored
├── RpcError                      a call was answered with an error
│   ├── DeclaredError             the base of the errors that a contract declares
│   ├── UnexpectedError           the handler failed; details are in the service's log under `id`
│   ├── ValidationError           the request or the response does not match its schema
│   ├── AuthError                 the caller may not do this
│   └── RemoteError               an error of a type this contract does not declare
└── KvError
    ├── KeyExists                 `create` found the key
    ├── RevisionMismatch          `update` found another revision
    └── InvalidKey                NATS does not allow the key
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

__all__ = [
    "ApiError",
    "AuthError",
    "CannotConnect",
    "ConfigurationError",
    "DeclaredError",
    "HandlerConflict",
    "IncompatiblePackage",
    "InvalidKey",
    "InvalidPayload",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobNotFound",
    "JobRetry",
    "JobSkipped",
    "KeyExists",
    "KeyedQueueUnsupported",
    "KvError",
    "NoResponders",
    "NotConnected",
    "PayloadTooLarge",
    "PermissionDenied",
    "ProvisioningError",
    "RemoteError",
    "RequestTimeout",
    "RevisionMismatch",
    "RpcError",
    "TransportError",
    "TrellisError",
    "UnexpectedError",
    "ValidationError",
    "WriteUnknown",
    "WrongLastSequence",
]


class TrellisError(Exception):
    """The root of every error that this runtime raises on purpose."""


class ConfigurationError(TrellisError):
    """The program or its settings are wrong; trying again does not help."""


class IncompatiblePackage(ConfigurationError):
    """The generated package was made for another version of the runtime's interface."""


class HandlerConflict(ConfigurationError):
    """A surface has a handler already, or its worker was started before the handler came."""


class KeyedQueueUnsupported(ConfigurationError):
    """The queue declares `keyConcurrency`, and this version cannot keep its limit yet."""

    def __init__(self, queue: str) -> None:
        super().__init__(
            f'queue "{queue}" declares keyConcurrency, which this version of trellis-nats does not run yet; '
            "jobs of this queue are neither created nor worked, so that its limit is never broken"
        )
        self.queue = queue


class ProvisioningError(ConfigurationError):
    """Streams, consumers or buckets that the contract needs are missing or differ."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)
        """One sentence for each resource."""


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


class WriteUnknown(TransportError):
    """The answer to a write was lost. The write may have been stored, now or a moment later."""


class InvalidPayload(TrellisError):
    """A value does not match its schema.

    The text names the places and the rules, never the value: it may be secret.
    """

    def __init__(self, what: str, issues: Sequence[tuple[str, str]]) -> None:
        super().__init__(f"{what} does not match its schema: " + "; ".join(f"{p}: {m}" for p, m in issues))
        self.issues = tuple(issues)
        """Pairs of place and sentence."""


class JobError(TrellisError):
    """The root of what a job can end with."""


class JobFailed(JobError):
    """The handler gave up, or every try was used.

    Raised by a handler, it ends the job as `failed` without another try.
    """


class JobRetry(JobError):
    """Raised by a handler: try again after `after`, or after the queue's backoff."""

    def __init__(self, message: str = "try again", *, after: timedelta | None = None) -> None:
        if after is not None and after < timedelta(0):
            raise ValueError(f"after must not be negative, got {after}")
        super().__init__(message)
        self.after = after


class JobCancelled(JobError):
    """The job was cancelled. A handler that saw `job.is_cancelled` raises it, or just returns."""


class JobExpired(JobError):
    """The job's deadline passed before it ended."""


class JobSkipped(JobError):
    """A newer job of the same key took its place."""


class JobNotFound(JobError):
    """No job with this id is stored; it never was, or its history has been purged."""


class RpcError(TrellisError):
    """A call was answered with an error."""


class DeclaredError(RpcError):
    """The base of the error classes that are generated from a contract's `errors`.

    A handler raises one; the caller's `await` raises the same class with the same fields.
    """

    error_type: ClassVar[str]
    """The name on the wire."""
    data_type: ClassVar[object] = None
    """The type of the error's body; None when the contract gives no schema."""

    def __init__(self, message: str, /, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.fields: Mapping[str, object] = dict(fields)
        """The error's own fields, under their wire names."""
        self.id: str | None = None
        """The id that the service gave it; None until it has crossed the wire."""
        self.context: Mapping[str, object] = {}
        """What the service told beside the declared fields."""


class UnexpectedError(RpcError):
    """The handler failed in a way that the contract does not declare."""

    def __init__(self, message: str = "An unexpected error has occurred", *, id: str | None = None) -> None:  # noqa: A002 - the wire's name
        super().__init__(message if id is None else f"{message} (id {id})")
        self.id = id
        """Look for it in the service's log."""


class ValidationError(RpcError):
    """The request or the response does not match its schema."""

    def __init__(self, message: str, issues: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.issues = tuple(issues)
        """Pairs of place and sentence."""
        self.id: str | None = None
        """The id that the service gave it; None until it has crossed the wire."""


class AuthError(RpcError):
    """The caller may not do this."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Auth failed: {reason}")
        self.reason = reason
        self.id: str | None = None
        """The id that the service gave it; None until it has crossed the wire."""


class RemoteError(RpcError):
    """The service answered with an error of a type that this contract does not declare."""

    def __init__(self, error: Mapping[str, object]) -> None:
        super().__init__(f"Remote error: {error.get('type')}: {error.get('message')}")
        self.error = dict(error)
        """The object as received."""


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
