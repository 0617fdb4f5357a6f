"""The hash of a concurrency key is that of the other runtimes."""

import json
from pathlib import Path
from typing import TypedDict

import pytest
from trellis_nats.jobs.keys.model.template import resolve

from tests.conformance.folders import FOLDERS


class KeyVector(TypedDict):
    segments: list[str | int | bool]
    display: str
    hash: str


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_keys_match_every_vector(folder: Path) -> None:
    vectors: list[KeyVector] = json.loads((folder / "key-hash.json").read_text())

    assert vectors
    for vector in vectors:
        pointers = [f"/segments/{index}" for index in range(len(vector["segments"]))]
        key = resolve(pointers, {"segments": [*vector["segments"]]}, what="the vector")
        assert (key.display, key.hash) == (vector["display"], vector["hash"])


def test_literals_hash_like_values() -> None:
    literal = resolve(("zendesk", "acme", "tickets"), {}, what="the payload")

    assert literal.hash == "f13b9f743f4ea7a98d6898821d27b0df6e86d33237e042a6f1542dae12cb52f0"
