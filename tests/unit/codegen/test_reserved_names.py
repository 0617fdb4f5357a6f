"""What generated classes inherit is not hidden by what a contract names."""

import json

import pytest
import trellis_nats
from pydantic import BaseModel, JsonValue

from tests.unit.codegen.contracts import contract, job, manifest
from trellis_codegen import naming
from trellis_codegen.plan.jobs import FACADE_NAMES
from trellis_codegen.plan.package import plan_package
from trellis_codegen.render.package import render_package


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_a_queue_hides_nothing_of_the_runtimes_facade() -> None:
    assert public(trellis_nats.Jobs) <= FACADE_NAMES


@pytest.mark.parametrize("name", sorted(public(BaseModel) | public(type(BaseModel))))
def test_a_field_hides_nothing_of_pydantic(name: str) -> None:
    assert naming.field(name) == f"{name}_"


def test_a_queue_with_updates_is_generic_in_them() -> None:
    schemas: JsonValue = {"Thing": {"type": "object", "properties": {}}, "Step": {"enum": ["a", "b"]}}
    jobs: JsonValue = {"keep": job(update={"schema": "Step"}), "follow": job(result={"schema": "Step"})}
    document = contract(schemas=schemas, jobs=jobs)
    plan, _ = plan_package(manifest(document), source=json.dumps("x"), package=None, generator="0")

    text = render_package(plan)["jobs.py"]

    assert "KeepJob: TypeAlias = ActiveJob[Thing, None, Step]" in text
    assert "class KeepQueue(JobQueue[Thing, None, Step]):" in text
    assert "update=Step," in text
    assert "class FollowQueue(JobQueue[Thing, Step]):" in text
    assert "self.follow_: Final = FollowQueue(runtime)" in text
