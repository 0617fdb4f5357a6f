"""A killed run leaves the old package or the new one, complete and importable."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
DEATHS_MIN = 50


def test_a_killed_run_leaves_the_old_package_or_the_new_one(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_writes", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    *attempts, repaired = [json.loads(line) for line in ended.stdout.splitlines()]
    deaths = [each for each in attempts if not each[1]]
    assert len(deaths) >= DEATHS_MIN
    assert [each for each in attempts if each[2] == "neither" or not each[3]] == []
    assert {each[2] for each in deaths} == {"old", "new"}
    assert repaired == ["the next run", True, "package", True]
