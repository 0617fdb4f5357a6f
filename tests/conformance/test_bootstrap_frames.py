"""The recorded answers of a control plane: the names that it chose are read and used, and the digest is ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import JsonValue
from trellis_nats import parse_binding, permissions

from tests.conformance.wire import NEEDS_RECORDINGS, WIRE
from tests.support.generated import generated
from trellis_codegen.contract.digest import compute_digest
from trellis_codegen.contract.reading import read_manifest

pytestmark = NEEDS_RECORDINGS

CASES: Final = {
    "boot.ready_with_manifest": "wire.manifest.json",
    "boot.ready_caller": "caller.manifest.json",
}
UNREAD: Final = {"dlq", "ordering", "payload", "result"}
"""What the contract says too."""


def frames() -> list[dict[str, Any]]:
    document: dict[str, list[dict[str, Any]]] = json.loads((WIRE / "bootstrap.json").read_text())
    return document["frames"]


def binding_of(case: str) -> dict[str, Any]:
    """Return the binding in the answer of a case."""
    (answer,) = [
        frame for frame in frames() if frame["case"] == case and frame["direction"].startswith("platform")
    ]
    body: dict[str, dict[str, Any]] = json.loads(answer["body_utf8"])
    return body["binding"]


def read_by_us(resources: JsonValue) -> JsonValue:
    """Leave out what a binding of ours does not read."""
    match resources:
        case dict():
            return {name: read_by_us(each) for name, each in resources.items() if name not in UNREAD}
        case list():
            return [read_by_us(each) for each in resources]
        case _:
            return resources


@pytest.mark.parametrize("case", CASES)
def test_every_name_and_number_of_a_binding_is_read(case: str) -> None:
    resources = binding_of(case)["resources"]

    binding = parse_binding(json.dumps(resources))

    assert json.loads(binding.model_dump_json(by_alias=True, exclude_unset=True)) == read_by_us(resources)


@pytest.mark.parametrize(("case", "manifest"), CASES.items())
def test_the_digest_of_a_contract_is_that_of_the_control_plane(case: str, manifest: str) -> None:
    reading = read_manifest((WIRE / "contracts" / manifest).read_bytes())

    assert compute_digest(reading.manifest) == binding_of(case)["digest"]


def test_a_service_uses_the_names_of_its_binding(tmp_path: Path) -> None:
    document: dict[str, JsonValue] = json.loads((WIRE / "contracts" / "wire.manifest.json").read_text())
    groups = document["eventConsumers"]
    assert isinstance(groups, dict)
    left = {name: member for name, member in document.items() if name != "uses"}
    package, _ = generated({**left, "eventConsumers": {"mine": groups["mine"]}}, tmp_path)
    resources = binding_of("boot.ready_with_manifest")["resources"]
    binding = parse_binding(json.dumps(resources))

    allowed = permissions(package.WireService, "worker", binding=binding)

    subscribed = {
        frame["subject"] for frame in frames() if frame["case"] == "connect.service" and frame["op"] == "SUB"
    }
    served = {subject for subject in subscribed if subject.startswith(("rpc.", "feeds."))}
    assert served
    assert served <= {*allowed.subscribe}
    group = resources["eventConsumers"]["mine"]["consumerName"]
    assert f"$JS.API.CONSUMER.MSG.NEXT.trellis.{group}" in allowed.publish
    assert f"$KV.{resources['kv']['things']['bucket']}.>" in allowed.publish
    for queue in resources["jobs"]["queues"].values():
        assert any(subject.startswith(queue["publishPrefix"]) for subject in allowed.publish)
        assert f"$JS.API.CONSUMER.MSG.NEXT.JOBS_WORK.{queue['consumerName']}" in allowed.publish
