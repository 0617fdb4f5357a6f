"""Asks a control plane who made a request, and whether it may: once for each request (auth.md)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.request import request
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats._support.turns import Turns
from trellis_nats.auth import Admitted, Caller, RequestProof, Signer
from trellis_nats.codec import decode_json, encode_json
from trellis_nats.errors import NoResponders, PermissionDenied, RemoteError, TransportError
from trellis_nats.ids import new_id

__all__ = ["VALIDATE", "ControlPlaneAuthority", "question", "read_verdict"]

VALIDATE: Final = "rpc.v1.Auth.Requests.Validate"
_ASKED_MAX: Final = 256
"""Questions at a time. The others wait for their turn: the surfaces bound how many calls they take."""

_throttle: Final = LogThrottle(logging.getLogger(__name__))


class _Caller(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", hide_input_in_errors=True
    )

    capabilities: frozenset[str] = frozenset()


class _Service(_Caller):
    type: Literal["service"]
    id: str
    name: str

    def read(self, session_key: str) -> Caller:
        """Return the caller."""
        return Caller(
            session_key=session_key,
            kind="service",
            id=self.id,
            name=self.name,
            capabilities=self.capabilities,
        )


class _Device(_Caller):
    type: Literal["device"]
    device_id: str
    device_type: str = ""

    def read(self, session_key: str) -> Caller:
        """Return the caller."""
        return Caller(
            session_key=session_key,
            kind="device",
            id=self.device_id,
            name=self.device_type or self.device_id,
            capabilities=self.capabilities,
        )


class _User(_Caller):
    type: Literal["user"]
    # No answer about a user is recorded: each of these may be absent.
    user_id: str | None = None
    id: str | None = None
    name: str | None = None

    def read(self, session_key: str) -> Caller:
        """Return the caller."""
        user_id = self.user_id or self.id
        return Caller(
            session_key=session_key,
            kind="user",
            id=user_id,
            name=self.name or user_id or session_key,
            capabilities=self.capabilities,
        )


class _Answer(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", hide_input_in_errors=True
    )

    allowed: bool
    inbox_prefix: str = Field(min_length=1)
    caller: Annotated[_Service | _Device | _User, Field(discriminator="type")]


_ANSWER: Final = TypeAdapter(_Answer)


def question(proof: RequestProof, capabilities: tuple[str, ...]) -> bytes:
    """Return the body of the question about a request."""
    return encode_json(
        {
            "sessionKey": proof.session_key,
            "proof": proof.signature,
            "subject": proof.subject,
            "payloadHash": proof.payload_hash_text,
            "iat": proof.iat,
            "requestId": proof.request_id,
            "capabilities": list(capabilities),
        }
    )


class ControlPlaneAuthority:
    """Knows what the control plane knows, which also checks the time of a request, and refuses replays."""

    def __init__(
        self, signer: Signer, get_connection: Callable[[], Connection], *, timeout: timedelta
    ) -> None:
        """Ask over a connection, and wait for `timeout` for an answer; `signer` signs the questions."""
        self._signer = signer
        self._get_connection = get_connection
        self._timeout = timeout
        self._turns = Turns(_ASKED_MAX)

    async def judge(self, proof: RequestProof, capabilities: tuple[str, ...]) -> Admitted:
        """Ask about a request. It is asked once, whatever happens: the control plane takes a second time for a replay.

        Raises:
            RemoteError: the control plane's own error, as it came; or it could not be asked.
        """
        if not self._turns.take():
            await self._turns.wait()
        try:
            body = question(proof, capabilities)
            request_id = new_id()
            headers = {**self._signer.headers(VALIDATE, body, request_id), "request-id": request_id}
            answer = await request(
                self._get_connection(), VALIDATE, body, headers=headers, timeout=self._timeout
            )
        except NoResponders:
            raise _unasked("unavailable", "no control plane checks requests: no process listens") from None
        except PermissionDenied:
            raise _unasked("denied", "this service may not ask the control plane about requests") from None
        except TransportError as error:
            raise _unasked("failed", f"the control plane did not answer: {error}") from None
        finally:
            self._turns.end()
        is_error = answer.headers.get("status") == "error"
        return read_verdict(answer.data, proof.session_key, is_error=is_error)


def read_verdict(data: bytes, session_key: str, *, is_error: bool = False) -> Admitted:
    """Read the answer about a request of the holder of a session key.

    Raises:
        RemoteError: the control plane refuses the request, or the answer is malformed.
    """
    if is_error:
        raise _forward(data)
    try:
        read = _ANSWER.validate_json(data, strict=True)
    except ValidationError:
        raise _unasked("invalid_response", "the answer of the control plane is malformed") from None
    return Admitted(read.caller.read(session_key), read.allowed, read.inbox_prefix)


def _forward(data: bytes) -> RemoteError:
    try:
        body = decode_json(data)
        encode_json(body)  # it is written again for the caller: 1e999 could not be
    except ValueError:
        body = None
    if isinstance(body, dict) and isinstance(body.get("type"), str):
        return RemoteError(body)
    return _unasked("invalid_response", "the error of the control plane is malformed")


def _unasked(code: str, why: str) -> RemoteError:
    _throttle.write(
        logging.ERROR,
        code,
        "requests are refused: %s (%s)",
        why,
        VALIDATE,
        extra=log_fields(LogEvent.CALLERS_NOT_CHECKED),
    )
    body: dict[str, JsonValue] = {
        "id": new_id(),
        "type": "TransportError",
        "message": "The service cannot check who calls.",
        "context": {"method": "Auth.Requests.Validate"},
        "code": f"trellis.request.{code}",
        "hint": "Retry later: the control plane does not answer the service.",
    }
    return RemoteError(body)
