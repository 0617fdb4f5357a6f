"""The proofs of the recorded requests: each is judged as it was recorded, and made again from its seed, bit for bit."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from trellis_nats import AuthError
from trellis_nats.auth import SessionKey
from trellis_nats.auth.request_proof import proof_digest, read_proof

from tests.conformance.wire import NEEDS_RECORDINGS, WIRE, Recorded, cases_of, frames_of

pytestmark = NEEDS_RECORDINGS

FILES = ("rpc", "feed", "operation", "transfer", "state")


def signed_frames(file: str) -> Iterator[Recorded]:
    for case in cases_of(file):
        for frame in frames_of(file, case):
            if frame.headers.get("proof"):
                yield frame


def keys_of(file: str) -> Mapping[str, SessionKey]:
    entries: dict[str, Any] = json.loads((WIRE / file).read_text()).get("keys", {})
    keys = [SessionKey.from_seed(entry["seed"]) for entry in entries.values()]
    assert [key.public for key in keys] == [entry["session_key"] for entry in entries.values()]
    assert [key.inbox_prefix for key in keys] == [entry["inbox_prefix"] for entry in entries.values()]
    return {key.public: key for key in keys}


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_proof_is_made_again_from_its_seed(name: str) -> None:
    keys, seen = keys_of(f"{name}.json"), 0
    for frame in signed_frames(f"{name}.json"):
        if not {"iat", "request-id"} <= frame.headers.keys():
            with pytest.raises(AuthError, match="invalid_signature"):
                read_proof(frame.headers, frame.subject, frame.body)
            continue
        proof = read_proof(frame.headers, frame.subject, frame.body)
        assert proof.is_valid() == (proof.signature == sign_again(keys[proof.session_key], frame))
        seen += proof.is_valid()
    assert seen, "no valid proof was found"


def test_the_recorded_forgeries_are_not_valid() -> None:
    for case in ("rpc.invalid_signature_body_changed", "rpc.invalid_signature_other_subject"):
        request = frames_of("rpc.json", case)[0]
        assert not read_proof(request.headers, request.subject, request.body).is_valid()


def sign_again(key: SessionKey, frame: Recorded) -> str:
    proof = read_proof(frame.headers, frame.subject, frame.body)
    return key.sign(
        proof_digest(
            key.public, frame.subject, proof.payload_hash, frame.headers["iat"], frame.headers["request-id"]
        )
    )
