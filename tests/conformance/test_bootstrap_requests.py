"""The recorded requests to join, tokens and answers: made again from the seeds, bit for bit, and read as the reference does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
from trellis_nats import RUNTIME_API, BootstrapFailed, Contract
from trellis_nats.auth import SessionKey
from trellis_nats.control_plane.answers import ManifestRequired, Ready, Waiting, WrongTime, read_answer
from trellis_nats.control_plane.claims import bootstrap_request, connect_token
from trellis_nats.control_plane.http_post import HttpAnswer

from tests.conformance.wire import NEEDS_RECORDINGS, WIRE

pytestmark = NEEDS_RECORDINGS

PATH: Final = "/bootstrap/service"
REFUSED: Final = {
    "boot.unknown_service": "unknown_service",
    "boot.invalid_signature": "invalid_signature",
    "boot.invalid_request": "invalid_request",
    "boot.digest_mismatch": "presented_contract_digest_mismatch",
    "boot.service_disabled": "service_disabled",
    "boot.service_deployment_disabled": "service_deployment_disabled",
    "boot.presented_contract_id_mismatch": "presented_contract_id_mismatch",
    "boot.presented_contract_invalid": "presented_contract_invalid",
}
WAITING: Final = {
    "boot.authority_update_required": "authority_update_required",
    "boot.authority_update_required.again": "authority_update_required",
    "boot.authority_migration_required": "authority_migration_required",
    "boot.dependency_absent": "authority_migration_required",
    "boot.dependency_absent_accepted": "contract_activation_pending",
}
READY: Final = ("boot.ready_with_manifest", "boot.ready_caller")
OTHER: Final = {"boot.iat_out_of_range", "boot.manifest_required", "boot.real"}


def document() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((WIRE / "bootstrap.json").read_text())
    return read


def keys() -> dict[str, SessionKey]:
    entries: dict[str, dict[str, str]] = document()["keys"]
    return {entry["session_key"]: SessionKey.from_seed(entry["seed"]) for entry in entries.values()}


def contract_of(claim: dict[str, Any]) -> Contract:
    return Contract(
        id=claim.get("contractId", "wire@v1"),
        digest=claim["contractDigest"],
        generator="0",
        runtime_api=RUNTIME_API,
    )


def exchanges() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the case, the request and the answer of each exchange of a service."""
    frames = [
        frame for frame in document()["frames"] if frame["case"].startswith("boot.") and "http" in frame
    ]
    for request, answer in zip(frames[::2], frames[1::2], strict=True):
        assert request["http"] == {"method": "POST", "path": PATH}
        yield request["case"], request, answer


def outcome(case: str, number: int = 0) -> Ready | Waiting | WrongTime | ManifestRequired:
    """Read the answer of a case."""
    _, request, answer = [each for each in exchanges() if each[0] == case][number]
    claim = json.loads(request["body_utf8"])
    body = answer["body_utf8"].encode()
    read = HttpAnswer(answer["http"]["status"], "application/json", None, None, body)
    return read_answer(
        read, contract_of(claim), claim.get("sessionKey", "0EqyMnQrtKs6E2i9RhXk5tAiSrcaAWuvhSCjMsl3hzc")
    )


def test_every_case_is_looked_at() -> None:
    assert {case for case, _, _ in exchanges()} == {*REFUSED, *WAITING, *READY, *OTHER}


def test_every_valid_request_is_made_again_from_its_seed() -> None:
    seen = 0
    for case, request, _ in exchanges():
        if request["signature"] != "valid":
            continue
        text: str = request["body_utf8"]
        claim = json.loads(text)
        contract = contract_of(claim)
        ours = bootstrap_request(keys()[claim["sessionKey"]], contract, claim["iat"], claim.get("contract"))
        if (
            "contract" in claim and case == "boot.real"
        ):  # the order of its members is another, their texts are not
            assert json.loads(ours) == claim
        else:
            assert ours.decode() == text
        seen += 1
    assert seen > 15


def test_every_valid_token_of_a_service_is_made_again_from_its_seed() -> None:
    seen = 0
    for frame in document()["frames"]:
        if (
            frame.get("op") != "CONNECT"
            or frame["signature"] != "valid"
            or frame["direction"] == "device->nats"
        ):
            continue
        token: str = json.loads(frame["body_utf8"])["auth_token"]
        claim = json.loads(token)
        assert connect_token(keys()[claim["sessionKey"]], contract_of(claim), claim["iat"]) == token
        seen += 1
    assert seen >= 5


@pytest.mark.parametrize(("case", "reason"), REFUSED.items())
def test_a_recorded_refusal_is_an_error(case: str, reason: str) -> None:
    with pytest.raises(BootstrapFailed) as refused:
        outcome(case)
    assert refused.value.reason == reason


@pytest.mark.parametrize(("case", "reason"), WAITING.items())
def test_a_recorded_pending_state_is_waited_for(case: str, reason: str) -> None:
    waiting = outcome(case)
    assert isinstance(waiting, Waiting)
    assert waiting.reason == reason


@pytest.mark.parametrize("case", READY)
def test_a_recorded_ready_answer_is_read(case: str) -> None:
    ready = outcome(case)
    assert isinstance(ready, Ready)
    assert (ready.servers, ready.jwt) == (("nats://127.0.0.1:34560",), "<nats user jwt>")


def test_the_other_recorded_answers_are_read() -> None:
    assert outcome("boot.iat_out_of_range") == WrongTime(1795960884)
    assert outcome("boot.manifest_required") == ManifestRequired()
    pending = outcome("boot.real", 0)
    assert isinstance(pending, Waiting)
    assert pending.reason == "authority_reconciliation_pending"
    assert isinstance(outcome("boot.real", 1), Ready)


def test_an_answer_for_another_contract_is_refused() -> None:
    _, request, answer = next(each for each in exchanges() if each[0] == READY[0])
    claim = json.loads(request["body_utf8"])
    other = replace(contract_of(claim), digest="A" * 43)
    read = HttpAnswer(200, "application/json", None, None, answer["body_utf8"].encode())
    with pytest.raises(BootstrapFailed, match="another session key or contract"):
        read_answer(read, other, claim["sessionKey"])
