"""What a control plane answers to the request to join, and what follows from it (auth.md, "Bootstrap"). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from trellis_nats.binding import Binding, parse_binding
from trellis_nats.codec import decode_json, encode_json, list_issues
from trellis_nats.contract import Contract
from trellis_nats.control_plane.http_post import HttpAnswer
from trellis_nats.errors import BootstrapFailed, ConfigurationError

__all__ = ["ManifestRequired", "Ready", "Waiting", "WrongTime", "read_answer"]

_TEXT_MAX: Final = 500
"""Characters of a text of the control plane, in errors, logs and health."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_TIME_MAX: Final = 10**11
"""Seconds: the year 5138. A later time would be milliseconds, or nonsense."""
_NEED_ADMIN: Final = frozenset(
    ["authority_update_required", "authority_migration_required", "authority_reconciliation_failed"]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """The service may connect."""

    servers: tuple[str, ...]
    jwt: str = field(repr=False)
    seed: str = field(repr=False)
    binding: Binding = field(repr=False)
    server_now: int | None = None
    """The time of the control plane, in seconds since 1970."""


class Waiting(NamedTuple):
    """The service may not connect yet."""

    reason: str
    text: str
    """What it waits for, as a sentence."""
    retry_after: timedelta | None
    """When to ask again, as the control plane wishes."""
    needs_admin: bool
    """Whether it waits until an administrator acts."""


class WrongTime(NamedTuple):
    """The clock of this machine is wrong."""

    server_now: int


class ManifestRequired(NamedTuple):
    """The control plane does not know the contract yet."""


class _Wire(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", hide_input_in_errors=True
    )


class _Native(_Wire):
    nats_servers: tuple[str, ...] = Field(min_length=1)


class _Transports(_Wire):
    native: _Native


class _Sentinel(_Wire):
    jwt: str = Field(min_length=1)
    seed: str = Field(min_length=1)


class _Transport(_Wire):
    sentinel: _Sentinel


class _ConnectInfo(_Wire):
    session_key: str
    contract_id: str
    contract_digest: str
    transports: _Transports
    transport: _Transport


class _BindingAnswer(_Wire):
    contract_id: str
    digest: str
    resources: dict[str, Any]  # Any: JSON, which `parse_binding` reads


class _ReadyAnswer(_Wire):
    server_now: int | None = Field(default=None, gt=0, lt=_TIME_MAX)
    connect_info: _ConnectInfo
    binding: _BindingAnswer


def read_answer(
    answer: HttpAnswer, contract: Contract, session_key: str
) -> Ready | Waiting | WrongTime | ManifestRequired:
    """Read an answer to the request of a service to join.

    Raises:
        BootstrapFailed: the control plane refuses the service, or it is not a control plane that answers.
    """
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return Waiting(
            "unavailable",
            f"the control plane answers with HTTP status {answer.status}",
            answer.retry_after,
            False,
        )
    body = _object(answer)
    if answer.status == HTTPStatus.OK:
        return _read_ready(answer.body, contract, session_key)
    match body:
        case {"reason": "iat_out_of_range", "serverNow": int(server_now)} if 0 < server_now < _TIME_MAX:
            return WrongTime(server_now)
        case {"reason": "manifest_required"}:
            return ManifestRequired()
        case {"reason": str(reason)} if answer.status == HTTPStatus.ACCEPTED:
            return Waiting(
                _plain(reason), _explain_wait(reason, body), answer.retry_after, reason in _NEED_ADMIN
            )
        case {"reason": str(reason)}:
            raise BootstrapFailed(_plain(reason), _explain_refusal(reason, body, contract, session_key))
        case _:
            raise BootstrapFailed(
                "invalid_response",
                f"the control plane answers with HTTP status {answer.status} and without a reason",
            )


def _object(answer: HttpAnswer) -> dict[str, JsonValue]:
    if 300 <= answer.status < 400:  # noqa: PLR2004 - redirections
        raise BootstrapFailed(
            "redirected",
            f"the control plane redirects to {_plain(answer.location or 'an unnamed place')}: signed requests do not follow; "
            "give that address",
        )
    try:
        body = decode_json(answer.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        kind = _plain(answer.content_type) or "an unnamed type"
        raise BootstrapFailed(
            "invalid_response",
            f"HTTP status {answer.status} came with {kind} instead of a JSON object: the URL does not lead to a control plane",
        )
    return body


def _read_ready(body: bytes, contract: Contract, session_key: str) -> Ready:
    try:
        read = _ReadyAnswer.model_validate_json(body, strict=True)
        binding = parse_binding(encode_json(read.binding.resources))
    except ValidationError as error:
        problems = "; ".join(f"{place}: {message}" for place, message in list_issues(error))
        raise BootstrapFailed(
            "invalid_response", f"the control plane's answer is not as expected: {problems}"
        ) from None
    except ConfigurationError as error:
        raise BootstrapFailed("invalid_response", str(error)) from None
    info = read.connect_info
    named = {(info.contract_id, info.contract_digest), (read.binding.contract_id, read.binding.digest)}
    if info.session_key != session_key or named != {(contract.id, contract.digest)}:
        raise BootstrapFailed(
            "invalid_response",
            f"the control plane's answer is for another session key or contract than {contract.id} {contract.digest}",
        )
    sentinel = info.transport.sentinel
    return Ready(
        servers=info.transports.native.nats_servers,
        jwt=sentinel.jwt,
        seed=sentinel.seed,
        binding=binding,
        server_now=read.server_now,
    )


def _explain_wait(reason: str, body: dict[str, JsonValue]) -> str:
    text = _plain(body.get("message")) or "the control plane is not ready for this service"
    deployment = _plain(body.get("deploymentId")) or "DEPLOYMENT"
    plan = _plain(body.get("planId")) or "PLAN"
    if reason == "authority_update_required":
        return f"{text} An administrator accepts it: svc {deployment} authority accept-update {plan}"
    if reason == "authority_migration_required":
        return f"{text} An administrator accepts it: svc {deployment} authority accept-migration {plan}"
    return text


def _explain_refusal(reason: str, body: dict[str, JsonValue], contract: Contract, session_key: str) -> str:
    text = _plain(body.get("message"))
    said = f"{_plain(reason)}: {text}" if text else _plain(reason)
    remedy = {
        "unknown_service": f"provision the session key {session_key} as an instance of the deployment of {contract.id}",
        "service_disabled": f"enable the instance with the session key {session_key}, or provision another one",
        "service_deployment_disabled": f"enable the deployment {_plain(body.get('deploymentId'))} of {contract.id}",
        "invalid_signature": f"the control plane does not accept the signature of {session_key}: check its URL, and that it "
        "has a version of the 0.10 line",
        "invalid_request": "the control plane does not accept the form of the request: it needs a version of the 0.10 line",
        "presented_contract_invalid": f"generate the package of {contract.id} again from a valid manifest",
        "presented_contract_digest_mismatch": f"generate the package of {contract.id} again: its contract.json was changed",
        "presented_contract_id_mismatch": f"generate the package of {contract.id} again: its contract.json was changed",
        "contract_catalog_issue": f"let an administrator look at {contract.id} in the catalog of the control plane",
    }.get(reason, "ask the administrator of the control plane")
    return f"the control plane refuses {contract.id}: {said}; {remedy}"


def _plain(value: JsonValue) -> str:
    """Return a text of the control plane as one bounded line."""
    text = value if isinstance(value, str) else ""
    text = _CONTROL.sub(" ", text).encode(errors="replace").decode().strip()
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}…"
