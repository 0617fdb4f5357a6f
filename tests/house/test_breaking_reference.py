"""docs/reference/breaking.md lists the rules of `trellis-gen breaking`."""

from tests.house.breaking_reference import PAGE, reference_page
from tests.house.proof_reference import PROOF_PAGE, proof_page
from trellis_codegen.breaking.rules.contract_rules import CONTRACT_RULES
from trellis_codegen.breaking.rules.schema_rules import SCHEMA_RULES


def test_the_reference_of_rules_is_fresh() -> None:
    assert PAGE.read_text() == reference_page(), "run make generate"
    assert PROOF_PAGE.read_text() == proof_page(), "run make generate"


def test_every_rule_is_on_the_page() -> None:
    page = PAGE.read_text()

    assert [rule for rule in (*SCHEMA_RULES, *CONTRACT_RULES) if f"| `{rule}` |" not in page] == []
