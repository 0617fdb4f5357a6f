"""No break is missed: random pairs of schemas, judged by the generated models and by the `jsonschema` library."""

import os
from typing import Final

from tests.support.pair_judge import judge_pairs

PAIRS: Final = int(os.environ.get("SCHEMA_PAIRS", "60"))
"""`make faults` compares ten thousand."""
ENOUGH: Final = 3_000
"""With fewer pairs, shares are accidents."""


def test_no_break_is_missed_and_every_witness_shows_one() -> None:
    verdict = judge_pairs(range(PAIRS))

    print(verdict.describe())  # noqa: T201 - the counts are the point; shown with -s
    assert verdict.missed == []
    assert verdict.false_alarms == []
    assert verdict.drift == []
    assert verdict.pairs > PAIRS * 0.9
    assert verdict.no > verdict.pairs * 0.35
    if PAIRS >= ENOUGH:
        assert verdict.yes > verdict.pairs * 0.4
        assert verdict.undecided_edited <= verdict.edited * 0.01
        assert verdict.seen_as_no >= verdict.seen * 0.95
