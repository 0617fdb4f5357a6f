"""The schemas of every rule on every surface, in both directions of a deploy."""

from pathlib import Path
from typing import Final

import pytest

from tests.support.rolling.matrix import find_contradictions
from tests.support.rolling.schema_cases import Example, SchemaVersions
from tests.support.rolling.surfaces import WAYS
from trellis_codegen.breaking.rules.schema_rules import SCHEMA_RULES

FAILS: Final[tuple[Example, ...]] = tuple((suffix, "fails") for suffix in SCHEMA_RULES)
PASSES: Final[tuple[Example, ...]] = tuple((suffix, "passes") for suffix in SCHEMA_RULES)


@pytest.mark.parametrize("prefix", WAYS)
async def test_every_rule_about_schemas_names_exactly_whom_it_breaks(prefix: str, tmp_path: Path) -> None:
    it = SchemaVersions.generate(prefix, FAILS + PASSES, tmp_path)

    assert await find_contradictions(it) == []
    assert await find_contradictions(it.reversed) == []
