"""README repeats figures of docs/comparison.md."""

import re
from typing import Final

from tests.house.sources import ROOT

_SENTENCE: Final = re.compile(r"with (\d+) jobs at a time on two cores, (.*?) \(\[measured\]")
_SPEED: Final = re.compile(r"([a-zA-Z-]+)(?: works)? ([\d,]+)(?: jobs/s)?(?:,| and|$)")


def test_the_speed_in_the_readme_is_the_measured_one() -> None:
    sentence = _SENTENCE.search((ROOT / "README.md").read_text())
    assert sentence is not None
    concurrency, rest = sentence.groups()
    rows = re.findall(
        r"^\| (\d+) \| ([\w-]+) \| [\d,]+ \| ([\d,]+) \|",
        (ROOT / "docs/comparison.md").read_text(),
        re.MULTILINE,
    )

    assert dict(_SPEED.findall(rest)) == {name: worked for each, name, worked in rows if each == concurrency}
