"""Each surface between two generated versions of a contract: a changed schema breaks exactly whom its rule names.

`make faults` does this with the schemas of every rule.
"""

from pathlib import Path
from typing import Final

import pytest

from tests.support.rolling.matrix import find_contradictions
from tests.support.rolling.schema_cases import Example, SchemaVersions
from tests.support.rolling.surfaces import WAYS
from trellis_codegen.breaking.rules.grades import SURFACES, Direction

EXAMPLES: Final[tuple[Example, ...]] = (
    ("FIELD_REQUIRED_ADDED", "fails"),
    ("FIELD_REQUIRED_ADDED", "passes"),
    ("LENGTH_WIDENED", "fails"),
    ("TYPE_CHANGED", "fails"),
)
"""Narrower, safe, wider, and both."""


@pytest.mark.parametrize("prefix", WAYS)
async def test_a_changed_schema_breaks_whom_its_rule_names(prefix: str, tmp_path: Path) -> None:
    it = SchemaVersions.generate(prefix, EXAMPLES, tmp_path)

    assert await find_contradictions(it) == []


def test_whom_a_rule_names_is_tried_in_both_directions() -> None:
    named = {
        prefix: {
            *((Direction.FORWARD, column) for column in kind.forward.columns),
            *((Direction.BACKWARD, column) for column in kind.backward.columns),
        }
        for prefix, kind in SURFACES.items()
    }

    assert {prefix: {*ways} for prefix, ways in WAYS.items()} == named
