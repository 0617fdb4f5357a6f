"""Turns what a handler raises into the reply that its caller gets, and logs what the caller does not get."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple, TypeGuard, cast

from pydantic import JsonValue

from trellis_nats._calls.error_codec import CallFacts, ErrorCodec, invalid_request
from trellis_nats._calls.headers import ERROR_HEADERS
from trellis_nats._calls.incoming import IncomingCall
from trellis_nats._calls.refusal_log import RefusalLog
from trellis_nats._calls.spans import name_error, set_status
from trellis_nats._support.error_leaves import error_leaves
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_exception import log_exception
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats._support.printable import printable
from trellis_nats._versions import ContractVersion
from trellis_nats.codec import decode_json, encode_json
from trellis_nats.contract import Contract
from trellis_nats.errors import (
    AuthError,
    DeclaredError,
    InvalidPayload,
    RemoteError,
    RpcError,
    UnexpectedError,
    UploadFailed,
    ValidationError,
)
from trellis_nats.ids import new_id

__all__ = ["ErrorReplies", "Reply", "SurfaceKind"]

_log = logging.getLogger(__name__)

_KEY_LENGTH: Final = 43
"""Characters of a session key, and of what a stranger sends instead, that are logged."""
_SHORT_KEY: Final = 8
"""Characters of the key of a caller whose name is known."""

SurfaceKind = Literal["rpc", "feed", "operation"]
"""The kinds of surface that answer calls, as log records and texts name them."""


class Reply(NamedTuple):
    """The answer to a call."""

    data: bytes
    headers: Mapping[str, str] | None = None


class ErrorReplies:
    """Writes the error replies of one procedure, feed or operation."""

    def __init__(
        self,
        surface: SurfaceKind,
        name: str,
        contract: Contract,
        errors: tuple[type[DeclaredError], ...],
        *,
        on_error: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare; `on_error` is called with the type of each error with which a call is answered."""
        self._on_error = on_error
        self.surface: SurfaceKind = surface
        self.name = name
        self.log_throttle: Final = LogThrottle(_log)
        """Writes the lines that a caller can cause, so that no caller floods the log."""
        self._refusals = RefusalLog(_log, f'{surface} "{name}"', self.log_fields(LogEvent.CALL_REFUSED))
        self.version: Final = ContractVersion(contract.digest)
        """What writes the answers: each has its digest as a header."""
        self._contract = contract
        self._errors = errors
        self._codec = ErrorCodec(f'{surface} "{name}"', errors)

    def log_fields(
        self, event: LogEvent, call: IncomingCall | None = None, error_id: str | None = None
    ) -> dict[str, object]:
        """Return the fields of a log record about the surface, or about one of its calls."""
        names = {self.surface: self.name}
        return log_fields(
            event,
            rpc=names.get("rpc"),
            feed=names.get("feed"),
            operation=names.get("operation"),
            operation_id=None if call is None else call.operation_id,
            request_id=None if call is None else call.request_id,
            error_id=error_id,
            trace_id=None if call is None else call.carried.trace_id,
        )

    def refuse(self, call: IncomingCall, reason: str, *, level: int = logging.WARNING) -> Reply:
        """Return the reply to a call that the handler did not answer, or whose answer cannot be sent, and log why.

        A warning is what callers cause: one is logged in a second.
        """
        error_id = new_id()
        kind = (
            LogEvent.CALL_REFUSED if level <= logging.WARNING else error_id
        )  # a reason may quote the caller
        self.log_throttle.write(
            level,
            kind,
            '%s "%s": request %s is answered with error %s: %s',
            self.surface,
            self.name,
            call.request_id,
            error_id,
            reason,
            extra=self.log_fields(LogEvent.CALL_REFUSED, call, error_id),
        )
        call.span.fail("refused")
        return self._write(call, UnexpectedError(), error_id)

    def reply_to_known(self, call: IncomingCall, error: RpcError) -> Reply:
        """Return the reply for an error of the runtime itself, which the caller gets as it is. It is not logged."""
        return self._write(call, error, new_id())

    def reply_to_refused(self, call: IncomingCall, error: RpcError) -> Reply:
        """Return the reply to a caller that may not call, and log it: a line a second, because strangers cause it."""
        error_id = new_id()
        name = error.caller_name if isinstance(error, AuthError) else None
        caller = _describe_caller(call, name)
        self._refusals.write(
            '%s "%s": request %s of %s is not admitted, and answered with error %s: %s',
            self.surface,
            self.name,
            call.request_id,
            caller,
            error_id,
            error,
            refusal=f"{caller} ({error})",
            is_known=name is not None,
            extra=self.log_fields(LogEvent.CALL_REFUSED, call, error_id),
        )
        if isinstance(error, RemoteError):
            return self._forward(call, error)
        return self._write(call, error, error_id)

    def reply_to_invalid(self, call: IncomingCall, error: InvalidPayload) -> Reply:
        """Return the reply to a call whose request does not match its schema."""
        try:
            decode_json(call.data)
        except ValueError:
            return self.refuse(call, "the request is not JSON")
        error_id, error = new_id(), self.version.explain(error, call.headers)
        self.log_throttle.write(
            logging.WARNING,
            "invalid",
            '%s "%s": request %s is answered with error %s: %s',
            self.surface,
            self.name,
            call.request_id,
            error_id,
            error,
            extra=self.log_fields(LogEvent.CALL_REFUSED, call, error_id),
        )
        invalid = invalid_request(
            error.issues, caller_digest=error.writer_digest, service_digest=error.reader_digest
        )
        return self._write(call, invalid, error_id)

    def reply_to_exception(self, call: IncomingCall, error: BaseException) -> Reply:
        """Return the reply for what a handler raised: the error itself if it is for the caller, or else only an id.

        Of a group whose errors are all for the caller, the caller gets the first.
        """
        try:
            leaves = error_leaves(error)
            if all(self._is_for_caller(leaf) for leaf in leaves):
                error = leaves[0]
            if not self._is_for_caller(error):
                return self.reply_to_failure(call, UnexpectedError(), cause=error)
            return self._write(call, error, error.id or new_id())
        except Exception as problem:  # noqa: BLE001 - the class is the program's, and may fail in whatever is asked of it
            return self.reply_to_failure(call, UnexpectedError(), cause=problem)

    def reply_to_failure(self, call: IncomingCall, error: RpcError, *, cause: BaseException) -> Reply:
        """Log the cause with its traceback. The caller gets an error with the id under which it is logged."""
        error_id = new_id()
        log_exception(
            _log,
            logging.ERROR,
            '%s "%s": the handler failed, request %s, error %s',
            self.surface,
            self.name,
            call.request_id,
            error_id,
            error=cause,
            extra=self.log_fields(LogEvent.HANDLER_RAISED, call, error_id),
        )
        call.span.record(cause)
        return self._write(call, error, error_id)

    def _forward(self, call: IncomingCall, error: RemoteError) -> Reply:
        """Return the reply for the own error of a control plane: the caller gets it as it came."""
        self._count(call, error)
        return Reply(encode_json(cast("JsonValue", error.error)), ERROR_HEADERS)

    def _is_for_caller(
        self, error: BaseException
    ) -> TypeGuard[DeclaredError | ValidationError | AuthError | UploadFailed]:
        """Return whether the caller gets the error itself. An error with an id answers a call that the handler made."""
        return isinstance(error, self._errors) or (
            isinstance(error, ValidationError | AuthError | UploadFailed) and error.id is None
        )

    def _write(self, call: IncomingCall, error: RpcError, error_id: str) -> Reply:
        facts = CallFacts(
            surface="method" if self.surface == "rpc" else self.surface,
            name=self.name,
            request_id=call.request_id,
            service=self._contract.name,
            contract_id=self._contract.id,
            contract_digest=self._contract.digest,
            trace_id=call.carried.trace_id,
        )
        self._count(call, error)
        return Reply(self._codec.encode(error, facts, error_id=error_id), ERROR_HEADERS)

    def _count(self, call: IncomingCall, error: RpcError) -> None:
        set_status(call.span, error)
        if self._on_error is not None:
            self._on_error(name_error(error))


def _describe_caller(call: IncomingCall, name: str | None) -> str:
    """Name a caller, for the log; without a name, the key is only what it states."""
    key = printable(call.headers.get("session-key", "")[:_KEY_LENGTH])
    if name is None:
        return f"session key {key}" if key else "an unsigned caller"
    return f"{printable(name)} ({key[:_SHORT_KEY]}…)"
