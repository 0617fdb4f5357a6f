"""The hash of a concurrency key is that of the other runtimes."""

import json
from pathlib import Path
from typing import TypedDict

import pytest
from trellis_nats.jobs.keys.model.template import resolve

VECTORS = Path(__file__).parents[2].parent / "shared" / "conformance"

pytestmark = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="shared/conformance is not next to the repository"
)


class KeyVector(TypedDict):
    segments: list[str | int | bool]
    display: str
    hash: str


def test_keys_match_every_vector() -> None:
    vectors: list[KeyVector] = json.loads((VECTORS / "key-hash.json").read_text())

    assert vectors
    for vector in vectors:
        pointers = [f"/segments/{index}" for index in range(len(vector["segments"]))]
        key = resolve(pointers, {"segments": [*vector["segments"]]}, what="the vector")
        assert (key.display, key.hash) == (vector["display"], vector["hash"])


def test_literals_hash_like_values() -> None:
    literal = resolve(("zendesk", "acme", "tickets"), {}, what="the payload")

    assert literal.hash == "f13b9f743f4ea7a98d6898821d27b0df6e86d33237e042a6f1542dae12cb52f0"
