"""The contract of the admin RPCs has the shapes of the one that other runtimes generate their clients from."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from pydantic import JsonValue

from tests.conformance.folders import SHARED
from tests.house.sources import ROOT

THEIRS: Final = SHARED / "manifests/trellis.jobs@v1.json"
OURS: Final = ROOT / "contracts/trellis_jobs.manifest.json"
WORDS: Final = {"description", "title", "examples", "$comment"}

pytestmark = pytest.mark.skipif(
    not THEIRS.is_file(), reason="shared/conformance is not next to the repository"
)


def load() -> tuple[dict[str, Any], dict[str, Any]]:
    return json.loads(OURS.read_text()), json.loads(THEIRS.read_text())


def shape(schema: JsonValue, *, is_named: bool = False) -> JsonValue:
    """Return a schema without what is for people only, and without an order where none matters."""
    if isinstance(schema, list):
        return [shape(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    shaped: dict[str, JsonValue] = {}
    for name, value in schema.items():
        if name == "required" and isinstance(value, list):
            shaped[name] = [*sorted(str(member) for member in value)]
        elif is_named or name not in WORDS:
            shaped[name] = shape(value, is_named=name == "properties")
    return shaped


def test_every_rpc_of_theirs_is_served_on_the_same_wire() -> None:
    ours, theirs = load()

    assert ours["id"] == theirs["id"]
    assert ours["rpc"].keys() - theirs["rpc"].keys() == {"Jobs.GetKey"}
    for name, rpc in theirs["rpc"].items():
        mine = ours["rpc"][name]
        assert (mine["subject"], mine["version"]) == (rpc["subject"], rpc["version"])
        assert mine["capabilities"] == rpc["capabilities"]
        assert {error["type"] for error in mine["errors"]} == {error["type"] for error in rpc["errors"]}
        for side in ("input", "output"):
            mine_shape = shape(ours["schemas"][mine[side]["schema"]])
            assert mine_shape == shape(theirs["schemas"][rpc[side]["schema"]]), f"{name} {side}"


def test_errors_and_capabilities_are_the_same() -> None:
    ours, theirs = load()

    assert ours["capabilities"].keys() == theirs["capabilities"].keys()
    assert ours["errors"] == theirs["errors"]
    for error in theirs["errors"].values():
        name = error["schema"]["schema"]
        assert shape(ours["schemas"][name]) == shape(theirs["schemas"][name])
