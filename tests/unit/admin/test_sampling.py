"""Choosing samples: what a payload costs whose sender chose its names."""

from __future__ import annotations

import tracemalloc

from pydantic import JsonValue
from trellis_admin.samples.sampling import shape_of


def test_a_long_name_is_not_held_once_for_each_of_its_members() -> None:
    members: dict[str, JsonValue] = {f"a{number}": 1 for number in range(2_000)}
    payload: JsonValue = {"k" * 100_000: members}
    tracemalloc.start()
    try:
        shape_of(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 10_000_000


def test_shapes_differ_behind_a_long_name() -> None:
    name = "k" * 1_000
    shapes = {shape_of({name: {"a": 1}}), shape_of({name: {"b": 1}}), shape_of({name + "k": {"a": 1}})}

    assert len(shapes) == 3
