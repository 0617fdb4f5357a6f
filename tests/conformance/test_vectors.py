"""Canonical JSON and digests match those of the other Trellis tools."""

import base64
import hashlib
import json
from pathlib import Path
from typing import TypedDict

import pytest
from pydantic import JsonValue

from trellis_codegen.contract.canonical import canonical_json
from trellis_codegen.contract.digest import contract_digest
from trellis_codegen.contract.reading import read_manifest

VECTORS = Path(__file__).parents[2].parent / "shared" / "conformance"

pytestmark = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="shared/conformance is not beside the repository"
)


class CanonicalVector(TypedDict):
    name: str
    input: JsonValue
    canonical: str
    digest: str


class DigestVector(TypedDict):
    name: str
    input: JsonValue
    digest: str


def test_canonical_json_matches_every_vector() -> None:
    vectors: list[CanonicalVector] = json.loads((VECTORS / "canonical-json.json").read_text())

    for vector in vectors:
        text = canonical_json(vector["input"])
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        assert (text, digest) == (vector["canonical"], vector["digest"]), vector["name"]


def test_digests_match_every_vector() -> None:
    vectors: list[DigestVector] = json.loads((VECTORS / "contract-digest.json").read_text())

    for vector in vectors:
        reading = read_manifest(json.dumps(vector["input"]).encode())
        assert contract_digest(reading.manifest) == vector["digest"], vector["name"]


def test_digests_match_those_of_real_manifests() -> None:
    digests: dict[str, str] = json.loads((VECTORS / "manifest-digests.json").read_text())

    found = {
        name: contract_digest(read_manifest((VECTORS / "manifests" / name).read_bytes()).manifest)
        for name in digests
    }

    assert found == digests
