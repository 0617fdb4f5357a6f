"""The recorded questions about callers, made again from the seeds, bit for bit; and the recorded answers to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

import pytest
from trellis_nats.auth import Caller, SessionKey, Signer
from trellis_nats.auth.request_proof import read_proof
from trellis_nats.codec import encode_json
from trellis_nats.control_plane.validation import VALIDATE, question, read_verdict
from trellis_nats.errors import RemoteError

from tests.conformance.wire import NEEDS_RECORDINGS, WIRE, Recorded, cases_of, frames_of

pytestmark = NEEDS_RECORDINGS

MADE_UP: Final = "rpc.validate_unsigned"
"""Its question is nonsense on purpose."""


def keys() -> dict[str, SessionKey]:
    entries: dict[str, Any] = json.loads((WIRE / "rpc.json").read_text())["keys"]
    return {entry["session_key"]: SessionKey.from_seed(entry["seed"]) for entry in entries.values()}


def exchanges() -> Iterator[tuple[str, Recorded, Recorded, Recorded]]:
    """Yield the case of each exchange with the platform, the request of the caller, the question and the answer."""
    for case in cases_of("rpc.json"):
        frames = frames_of("rpc.json", case)
        for place, frame in enumerate(frames):
            if frame.subject == VALIDATE and case != MADE_UP:
                (answer,) = [each for each in frames[place:] if each.subject == frame.reply]
                yield case, frames[0], frame, answer


def test_every_question_is_asked_again() -> None:
    seen = 0
    for _, call, asked, _ in exchanges():
        proof = read_proof(call.headers, call.subject, call.body)
        capabilities = tuple(json.loads(asked.body)["capabilities"])
        assert question(proof, capabilities) == asked.body
        iat, request_id = int(asked.headers["iat"]), asked.headers["request-id"]
        signer = Signer(keys()[asked.headers["session-key"]], lambda iat=iat: iat)  # type: ignore[misc]
        assert {
            **signer.headers(VALIDATE, asked.body, request_id),
            "request-id": request_id,
        } == asked.headers
        seen += 1
    assert seen > 10


def test_every_answer_about_a_caller_is_read() -> None:
    kinds = set[str]()
    for case, call, _, answer in exchanges():
        if answer.headers.get("status") == "error":
            continue
        admitted = read_verdict(answer.body, call.headers["session-key"])
        assert admitted.is_allowed == (case != "rpc.insufficient_capability")
        assert admitted.inbox_prefix == f"_INBOX.{call.headers['session-key'][:16]}"
        kinds.add(admitted.caller.kind)
        if admitted.caller.kind == "device":
            assert admitted.caller == Caller(
                session_key=call.headers["session-key"],
                kind="device",
                id="dev_op8zgXZqE00fZYDnJnPhVX",
                name="gadget",
            )
        else:
            assert (admitted.caller.name, admitted.caller.capabilities) == ("caller", frozenset({"service"}))
    assert kinds == {"service", "device"}


def test_every_error_is_forwarded_as_the_reference_does() -> None:
    seen = set[str]()
    for case, _, _, answer in exchanges():
        if answer.headers.get("status") != "error":
            continue
        with pytest.raises(RemoteError) as forwarded:
            read_verdict(answer.body, "", is_error=True)
        written = encode_json(forwarded.value.error)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert written == answer.body
        replies = [
            frame.body for frame in frames_of("rpc.json", case) if frame.direction.startswith("service->")
        ]
        if case != "rpc.session_not_found":  # the reference asks again there, and forwards the second error
            assert written in replies
        seen.add(case)
    assert {"rpc.iat_out_of_range", "rpc.replay_second", "rpc.session_not_found"} <= seen


def test_the_hash_of_a_question_is_that_of_the_body() -> None:
    _, call, asked, _ = next(exchanges())
    proof = read_proof(call.headers, call.subject, call.body)
    assert proof.payload_hash == sha256(call.body).digest()
    assert json.loads(asked.body)["payloadHash"] == proof.payload_hash_text
