"""The work for an enumeration grows with its values, not with their square."""

import json
import sys
from collections.abc import Sequence
from types import FrameType

import pytest

from tests.unit.codegen.contracts import contract
from trellis_codegen.contract.reading import read_manifest
from trellis_codegen.plan.package import plan_package
from trellis_codegen.render.package import render_package


def count_calls(values: Sequence[object]) -> int:
    """Return how many functions are called to generate a package with an enumeration, those of libraries too."""
    data = json.dumps({**contract(), "schemas": {"Thing": {"enum": values}}}).encode()
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        plan, _ = plan_package(read_manifest(data).manifest, source="x", package=None, generator="1")
        render_package(plan)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("kind", ["texts", "both"])
def test_the_work_for_an_enumeration_grows_with_its_values(kind: str) -> None:
    def make(count: int) -> Sequence[object]:
        texts, numbers = [f"value-{number}" for number in range(count)], [*range(count)]
        return texts if kind == "texts" else [*texts[::2], *numbers[::2]]

    count_calls(make(10))  # which imports modules and compiles templates
    few, many, more = (count_calls(make(count)) for count in (500, 1_000, 2_000))

    assert more - many < 2.2 * (many - few)
