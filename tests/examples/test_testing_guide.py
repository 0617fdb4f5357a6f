"""The blocks of the testing guide are one test module, and its tests pass."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/testing.md").read_text()
CONFIG = f"""
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
pythonpath = {ROOT / "examples/orders_service"}
filterwarnings = error
"""


def test_the_tests_of_the_guide_pass(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "test_guide.py").write_text("\n\n".join(blocks))
    (tmp_path / "pytest.ini").write_text(CONFIG)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]

    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
    tests = GUIDE.count("async def test_")
    assert tests > 10
    assert f"{tests} passed" in run.stdout
