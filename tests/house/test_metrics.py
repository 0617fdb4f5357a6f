"""The guide to metrics lists what the runtime counts."""

import re

from trellis_nats.metrics import BUCKETS, FAMILIES

from tests.house.sources import ROOT


def test_the_table_of_the_guide_is_what_is_counted() -> None:
    guide = (ROOT / "docs/guides/metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", guide, re.MULTILINE)

    assert rows == [
        (family.name, family.kind, ", ".join(f"`{label}`" for label in family.labels), family.help)
        for family in FAMILIES
    ]


def test_names_have_their_units() -> None:
    for family in FAMILIES:
        assert family.name.startswith("trellis_")
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert family.name.endswith("_seconds") == (family.kind == "histogram")


def test_the_buckets_of_the_guide_are_those_of_the_histograms() -> None:
    milliseconds, seconds, minutes = (5, 10, 25, 50, 100, 250, 500), (1, 2.5, 5, 10, 30), (1, 5, 15, 60)
    expected = (*(n / 1000 for n in milliseconds), *map(float, seconds), *(60.0 * n for n in minutes))

    assert expected == BUCKETS
