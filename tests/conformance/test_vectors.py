"""Canonical JSON and digests match those of the other Trellis tools."""

import base64
import hashlib
import json
from pathlib import Path
from typing import NotRequired, TypedDict

import pytest
from pydantic import JsonValue

from tests.conformance.folders import CASES, FOLDERS, SHARED
from trellis_codegen.contract.canonical import canonical_json
from trellis_codegen.contract.digest import compute_digest, project_contract
from trellis_codegen.contract.reading import read_manifest


class CanonicalVector(TypedDict):
    name: str
    input: JsonValue
    canonical: str
    digest: str


class DigestVector(TypedDict):
    name: str
    input: JsonValue
    digest: str
    projection: NotRequired[JsonValue]
    """What counts of the contract, written by hand."""


def digest_of(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_canonical_json_matches_every_vector(folder: Path) -> None:
    vectors: list[CanonicalVector] = json.loads((folder / "canonical-json.json").read_text())

    assert vectors
    for vector in vectors:
        text = canonical_json(vector["input"])
        assert (text, digest_of(text)) == (vector["canonical"], vector["digest"]), vector["name"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_digests_match_every_vector(folder: Path) -> None:
    vectors: list[DigestVector] = json.loads((folder / "contract-digest.json").read_text())

    assert vectors
    for vector in vectors:
        manifest = read_manifest(json.dumps(vector["input"]).encode()).manifest
        if "projection" in vector:
            assert project_contract(manifest) == vector["projection"], vector["name"]
        assert compute_digest(manifest) == vector["digest"], vector["name"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/conformance is not next to the repository")
def test_digests_match_those_of_real_manifests() -> None:
    digests: dict[str, str] = json.loads((SHARED / "manifest-digests.json").read_text())

    found = {
        name: compute_digest(read_manifest((SHARED / "manifests" / name).read_bytes()).manifest)
        for name in digests
    }

    assert found == digests


@pytest.mark.skipif(not CASES.is_dir(), reason="shared/cases is not next to the repository")
def test_errors_of_operations_count_as_in_the_newest_reference() -> None:
    (path,) = (CASES / "generator").glob("d03_reference_vector_*.json")
    vector: DigestVector = json.loads(path.read_text())

    reading = read_manifest(json.dumps(vector["input"]).encode())

    assert reading.warnings == ()
    assert compute_digest(reading.manifest) == vector["digest"]


NUMBERS = [
    ("1.0", "1.0"), ("1", "1"), ("-0", "-0.0"), ("-0.0", "-0.0"), ("0.0", "0.0"), ("1e16", "1e16"), ("1e15", "1000000000000000.0"),
    ("1E5", "100000.0"), ("1e-7", "1e-7"), ("0.00001", "0.00001"), ("0.000001", "1e-6"), ("1.5e300", "1.5e300"), ("5e-324", "5e-324"),
    ("123456789012345680.0", "1.2345678901234568e17"), ("9007199254740993", "9007199254740993"), ("0.1", "0.1"), ("100.50", "100.5"),
    ("18446744073709551615", "18446744073709551615"), ("18446744073709551616", "1.8446744073709552e19"),
    ("-9223372036854775808", "-9223372036854775808"), ("-9223372036854775809", "-9.223372036854776e18"),
    ("1.7976931348623157e308", "1.7976931348623157e308"), ("4.35", "4.35"), ("1e21", "1e21"), ("12345.678e3", "12345678.0"),
]  # fmt: skip
"""How numbers are written, and how the Rust tool writes them again: text in, canonical text out."""


@pytest.mark.parametrize(("written", "canonical"), NUMBERS)
def test_numbers_keep_the_form_that_rust_gives_them(written: str, canonical: str) -> None:
    document = f"""{{"format": "trellis.contract.v1", "id": "numbers@v1", "displayName": "N", "description": "N", "kind": "service",
        "schemas": {{"N": {{"type": "number", "maximum": {written}}}}},
        "state": {{"n": {{"kind": "value", "schema": {{"schema": "N"}}}}}}}}"""

    manifest = read_manifest(document.encode()).manifest

    expected = '"schemas":{"N":{"maximum":' + canonical + ',"type":"number"}}'
    assert expected in canonical_json(project_contract(manifest))
