"""Every error of the runtime, in one tree.

TrellisError
├── ConfigurationError            the program or its settings are wrong; retrying does not help
│   ├── BlockNotEntered           what `connect` returns was used without `async with`
│   ├── BootstrapFailed           the control plane does not let the service join
│   ├── IncompatiblePackage       the generated package and this runtime do not fit together
│   ├── HandlerConflict           a second handler, or one registered after the start
│   ├── PermissionsMissing        the account lacks permissions that the service needs
│   ├── ProvisioningError         streams, consumers or buckets are missing or differ
│   ├── TimedeltaExpected         a duration is a number or something else, not a timedelta
│   └── WrongEventLoop            the call does not run on the event loop that connected
├── TransportError                a request to NATS failed
│   ├── CannotConnect             the first connection failed
│   ├── NotConnected              there is no connection now; nothing was sent
│   ├── RequestTimeout            no answer arrived in time
│   ├── NoResponders              no subscriber listens on the subject
│   ├── PermissionDenied          the account may not use the subject
│   ├── PayloadTooLarge           the message exceeds the server's limit; nothing was sent
│   ├── ApiError                  JetStream answered with an error
│   │   └── WrongLastSequence     another writer was first (compare-and-set)
│   ├── KeyContended              too many writers changed the record of a concurrency key at once
│   ├── MalformedJobEvent         a stored event of a job cannot be read
│   ├── MalformedKeyRecord        the stored record of a concurrency key cannot be read
│   └── WriteUnknown              the answer to a write was lost; it may have been stored
├── InvalidPayload                a value does not match its schema
│   └── UpcastFailed              the upcaster of a queue gave no payload of this version
├── JobError
│   ├── ActionRefused             an action on a job was not done: the job has changed, or does not allow it
│   ├── JobFailed                 raise it in a handler to fail without a retry; raised by `result()`
│   ├── JobRetry                  raise it in a handler to run again after a given time
│   ├── JobCancelled              raise it in a handler that stops early; raised by `result()`
│   ├── JobExpired                the job's deadline passed
│   ├── JobNotEnqueued            the concurrency key is full; nothing was stored
│   ├── JobSkipped                a newer job replaced it
│   ├── JobStale                  the lease on its key expired, and it lost its slot
│   └── JobNotFound               no job with this id is stored
├── RpcError                      a call was answered with an error
│   ├── DeclaredError             the base of the errors that a contract declares
│   ├── UnexpectedError           the handler failed; details are in the service's log under `id`
│   ├── ValidationError           the request or the response does not match its schema
│   ├── AuthError                 the caller is not authorised
│   ├── FeedInterrupted           a feed ended although its handler did not; open it again
│   ├── RemoteError               an error of a type this contract does not declare
│   ├── OperationError            an operation cannot do what was asked, or ended without a result
│   │   ├── OperationNotFound     no operation with this id is stored
│   │   ├── OperationAlreadyTerminal  it has ended
│   │   ├── OperationMismatch     the id belongs to another operation
│   │   ├── OperationCancelled    it was cancelled
│   │   └── OperationInterrupted  its process ended, and part of the work may be done
│   └── TransferError             a download or an upload failed
│       └── UploadFailed          `operation.upload` failed; nothing is stored
├── KvError
│   ├── KeyExists                 `create` found an existing value
│   ├── RevisionMismatch          `update` found another revision
│   └── InvalidKey                the key is not legal in NATS
├── StateError
│   ├── StateConflict             `create` found an existing value, or `update` another revision
│   ├── InvalidStateKey           the key is empty or longer than 512 bytes
│   └── StateValueTooLarge        the value is longer than 64 KiB
└── StoreError
    ├── ObjectExists              `create` found an object
    ├── ObjectTooLarge            the object exceeds the contract's limit
    ├── StoreFull                 the store has no room for the object
    ├── ObjectReplaced            the object was replaced or deleted while it was read
    ├── ObjectDamaged             what is stored does not match its digest or size
    └── InvalidObjectKey          the key is empty, too long, or has control characters
"""

from trellis_nats.errors.base import InvalidPayload, TrellisError, UpcastFailed
from trellis_nats.errors.configuration import (
    BlockNotEntered,
    BootstrapFailed,
    ConfigurationError,
    HandlerConflict,
    IncompatiblePackage,
    PermissionsMissing,
    ProvisioningError,
    TimedeltaExpected,
    WrongEventLoop,
)
from trellis_nats.errors.job import (
    ActionRefused,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobNotEnqueued,
    JobNotFound,
    JobRetry,
    JobSkipped,
    JobStale,
)
from trellis_nats.errors.kv import InvalidKey, KeyExists, KvError, RevisionMismatch
from trellis_nats.errors.operation import (
    OperationAlreadyTerminal,
    OperationCancelled,
    OperationError,
    OperationInterrupted,
    OperationMismatch,
    OperationNotFound,
)
from trellis_nats.errors.rpc import (
    AuthError,
    DeclaredError,
    FeedInterrupted,
    RemoteError,
    RpcError,
    UnexpectedError,
    ValidationError,
)
from trellis_nats.errors.state import InvalidStateKey, StateConflict, StateError, StateValueTooLarge
from trellis_nats.errors.store import (
    InvalidObjectKey,
    ObjectDamaged,
    ObjectExists,
    ObjectReplaced,
    ObjectTooLarge,
    StoreError,
    StoreFull,
    TransferError,
    UploadFailed,
)
from trellis_nats.errors.transport import (
    ApiError,
    CannotConnect,
    KeyContended,
    MalformedJobEvent,
    MalformedKeyRecord,
    NoResponders,
    NotConnected,
    PayloadTooLarge,
    PermissionDenied,
    RequestTimeout,
    TransportError,
    WriteUnknown,
    WrongLastSequence,
)

__all__ = [
    "ActionRefused",
    "ApiError",
    "AuthError",
    "BlockNotEntered",
    "BootstrapFailed",
    "CannotConnect",
    "ConfigurationError",
    "DeclaredError",
    "FeedInterrupted",
    "HandlerConflict",
    "IncompatiblePackage",
    "InvalidKey",
    "InvalidObjectKey",
    "InvalidPayload",
    "InvalidStateKey",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobNotEnqueued",
    "JobNotFound",
    "JobRetry",
    "JobSkipped",
    "JobStale",
    "KeyContended",
    "KeyExists",
    "KvError",
    "MalformedJobEvent",
    "MalformedKeyRecord",
    "NoResponders",
    "NotConnected",
    "ObjectDamaged",
    "ObjectExists",
    "ObjectReplaced",
    "ObjectTooLarge",
    "OperationAlreadyTerminal",
    "OperationCancelled",
    "OperationError",
    "OperationInterrupted",
    "OperationMismatch",
    "OperationNotFound",
    "PayloadTooLarge",
    "PermissionDenied",
    "PermissionsMissing",
    "ProvisioningError",
    "RemoteError",
    "RequestTimeout",
    "RevisionMismatch",
    "RpcError",
    "StateConflict",
    "StateError",
    "StateValueTooLarge",
    "StoreError",
    "StoreFull",
    "TimedeltaExpected",
    "TransferError",
    "TransportError",
    "TrellisError",
    "UnexpectedError",
    "UpcastFailed",
    "UploadFailed",
    "ValidationError",
    "WriteUnknown",
    "WrongEventLoop",
    "WrongLastSequence",
]
