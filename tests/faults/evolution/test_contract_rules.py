"""Every rule outside of schemas that a run can show."""

from pathlib import Path

import pytest

from tests.support.rolling.contract_cases import ContractCase
from tests.support.rolling.contract_matrix import find_contradictions
from tests.support.rolling.driven import CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule} {case.name}".strip())
async def test_every_rule_names_exactly_whom_it_breaks(case: ContractCase, tmp_path: Path) -> None:
    assert await find_contradictions(case, tmp_path) == []
