"""A run that is killed leaves the old package or the new one, whole and importable."""

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

    *tries, healed = [json.loads(line) for line in ended.stdout.splitlines()]
    deaths = [each for each in tries if not each[1]]
    assert len(deaths) >= DEATHS_MIN
    assert [each for each in tries if each[2] == "neither" or not each[3]] == []
    assert {each[2] for each in deaths} == {"old", "new"}
    assert healed == ["the next run", True, "package", True]
