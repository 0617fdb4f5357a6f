"""Errors of calls: RPCs and feeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, cast

from typing_extensions import override

from trellis_nats.errors.base import TrellisError

__all__ = [
    "AuthError",
    "DeclaredError",
    "FeedInterrupted",
    "RemoteError",
    "RpcError",
    "UnexpectedError",
    "ValidationError",
]

_NAMES_MAX: Final = 500
"""Characters of the names of missing capabilities, which the other side of a connection has sent."""


class RpcError(TrellisError):
    """A call was answered with an error.

    Remedy: Catch a subclass.
    """


class DeclaredError(RpcError):
    """The base of the error classes that are generated from a contract's `errors`.

    A handler raises one; the caller's `await` raises the same class with the same fields.

    Remedy: Catch the generated class; the contract says what it means.
    """

    error_type: ClassVar[str]
    """The error's name on the wire."""
    data_type: ClassVar[object] = None
    """The type of the error's body; None if the contract declares no schema."""

    def __init__(self, message: str, /, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.fields: Mapping[str, object] = dict(fields)
        """The error's own fields, under their wire names."""
        self.id: str | None = None
        """The id that the service assigned; None before the error has crossed the wire."""
        self.context: Mapping[str, object] = {}
        """What the service sent in addition to the declared fields."""

    @override
    def __str__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.fields.items() if value is not None)
        return f"{self.message} ({fields})" if fields else self.message


class UnexpectedError(RpcError):
    """The handler failed in a way that the contract does not declare.

    Remedy: Search the service's log for `id`: the traceback stands there.
    """

    def __init__(self, message: str = "An unexpected error has occurred", *, id: str | None = None) -> None:  # noqa: A002 - the wire's name
        super().__init__(message if id is None else f"{message} (id {id})")
        self.id = id
        """The id to search for in the service's log."""


class ValidationError(RpcError):
    """The request or the response does not match its schema.

    Remedy: Compare the request with the schema at the places in `issues`. If the digests differ,
    generate the package of the caller again.
    """

    def __init__(
        self,
        message: str,
        issues: Sequence[tuple[str, str]] = (),
        *,
        caller_digest: str | None = None,
        service_digest: str | None = None,
    ) -> None:
        super().__init__(message)
        self.issues = tuple(issues)
        """Pairs of a place in the value and a sentence about it."""
        self.caller_digest = caller_digest
        """The digest of the caller's contract, if the service is known to have another one; the text then names both."""
        self.service_digest = service_digest
        """The digest of the service's contract, where `caller_digest` is known."""
        self.id: str | None = None
        """The id that the service assigned; None before the error has crossed the wire."""


class AuthError(RpcError):
    """The caller is not authorised.

    `reason` says why; the text also names the capabilities that the caller lacks, or by how much its clock differs.

    Remedy: By `reason`. `missing_session_key`, `missing_proof`: sign the calls, with `Options(session_key=…)`.
    `session_not_found`: add the key to the service's file of callers (`trellis callers grant`), or to the control plane.
    `insufficient_permissions`: grant the capability that the text names. `service_disabled`, `user_inactive`,
    `device_activation_revoked`: the key was revoked; enable it, or use another one. `iat_out_of_range`: the clocks of caller
    and service differ by more than 30 s; set them. `invalid_signature`: the request was changed or sent twice on its way; look
    for what stands between. `reply_subject_mismatch`: leave out `Options.inbox_prefix`. `forbidden`: another session
    started the operation, and only that one may control it.
    """

    def __init__(self, reason: str, context: Mapping[str, object] | None = None) -> None:
        self.message = f"Auth failed: {reason}"
        """The text of the wire; `str` names missing capabilities and how wrong a clock is too."""
        super().__init__(self.message)
        self.reason = reason
        """As on the wire: `invalid_signature`, or `insufficient_permissions`."""
        self.context: Mapping[str, object] = context or {}
        """What the service says about it: `requiredCapabilities` and `userCapabilities`, for example."""
        self.caller_name: str | None = None
        """Whom the service refused, where it knows the name, for its log. It does not cross the wire."""
        self.id: str | None = None
        """The id that the service assigned; None before the error has crossed the wire."""

    @override
    def __str__(self) -> str:
        held = _list(self.context.get("userCapabilities"))
        missing = [str(name) for name in _list(self.context.get("requiredCapabilities")) if name not in held]
        if missing:
            return f"{self.message} (without {', '.join(missing)[:_NAMES_MAX]})"
        behind = self.context.get("callerClockBehindSeconds")
        if not isinstance(behind, int) or isinstance(behind, bool):
            return self.message
        return f"{self.message} (the caller's clock is {abs(behind)} s {'behind' if behind > 0 else 'ahead'})"


def _list(value: object) -> Sequence[object]:
    return cast("Sequence[object]", value) if isinstance(value, list) else ()


class FeedInterrupted(RpcError):
    """A feed ended although its handler did not: events may be missing, and none follow. Open the feed again.

    The text says why: a connection was lost, the service stopped or is silent, or the reader is too slow.

    Remedy: Open the feed again, and read the present state first, because events may be missing.
    """


class RemoteError(RpcError):
    """The service answered with an error of a type that this contract does not declare.

    Remedy: Generate the package again from the contract that the service has now.
    """

    def __init__(self, error: Mapping[str, object]) -> None:
        super().__init__(f"Remote error: {error.get('type')}: {error.get('message')}")
        self.error = dict(error)
        """The object as received."""
