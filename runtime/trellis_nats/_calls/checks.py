"""Checks who makes a call, after its request was validated and before its handler runs (auth.md)."""

from __future__ import annotations

from collections.abc import Mapping

from trellis_nats._calls.incoming import IncomingCall
from trellis_nats.auth import Admission, Caller
from trellis_nats.errors import RpcError, UnexpectedError

__all__ = ["check_caller", "session_key_of"]


async def check_caller(
    admission: Admission | None, call: IncomingCall, subject: str, capabilities: tuple[str, ...]
) -> IncomingCall:
    """Return a call with its caller; in open mode, without `admission`, as it is.

    Raises:
        AuthError: the caller may not call; it gets this error.
        RpcError: the authority could not be asked, or failed.
    """
    if admission is None:
        return call
    try:
        caller = await admission.admit(
            call.headers,
            call.data,
            subject=subject,
            reply_subject=call.reply_subject,
            capabilities=capabilities,
        )
    except RpcError:
        raise
    except Exception as error:  # of an authority that users write: the caller must not wait for its timeout
        raise UnexpectedError(f"the authority failed: {type(error).__name__}: {error}") from error
    return call._replace(caller=caller)


def session_key_of(caller: Caller | None, headers: Mapping[str, str]) -> str:
    """Return the session key of a caller; in open mode the one that it states, which is not verified, or nothing."""
    return headers.get("session-key", "") if caller is None else caller.session_key
