"""Changes of a contract outside of schemas, between two generated versions: they break exactly whom the rule names.

`make faults` does this for every rule that a run can show.
"""

from pathlib import Path
from typing import Final

import pytest

from tests.support.rolling.contract_cases import ContractCase
from tests.support.rolling.contract_matrix import find_contradictions
from tests.support.rolling.driven import CASES, NOT_DRIVEN
from trellis_codegen.breaking.rules.contract_rules import CONTRACT_RULES

RULES: Final = (
    "QUEUE_ACK_WAIT_CHANGED",
    "QUEUE_KEY_CHANGED",
    "RPC_REMOVED",
    "OPERATION_SIGNAL_REMOVED",
    "GROUP_EVENT_ADDED",
    "KV_TTL_LOWERED",
    "STATE_VERSION_NOT_ACCEPTED",
)
"""One of each surface."""


@pytest.mark.parametrize("case", [case for case in CASES if case.rule in RULES], ids=lambda case: case.rule)
async def test_a_change_breaks_exactly_whom_its_rule_names(case: ContractCase, tmp_path: Path) -> None:
    assert await find_contradictions(case, tmp_path) == []


def test_every_rule_is_driven_or_says_why_not() -> None:
    driven = {case.rule for case in CASES}

    assert driven | {*NOT_DRIVEN} == {*CONTRACT_RULES}
    assert not driven & {*NOT_DRIVEN}
