"""The tutorial works as it is written."""

import os
import re
import subprocess
import sys
from pathlib import Path

from trellis_nats.testing import NatsServer

from tests.support.generator import run_generator
from tests.support.tutorial import apply_edit, is_printed, merged

ROOT = Path(__file__).parents[2]


def test_every_file_and_every_command_of_the_tutorial(tmp_path: Path, nats_server: NatsServer) -> None:
    """In a process of its own, because its package has the name of the example's."""
    folder = tmp_path / "orders"
    folder.mkdir()

    followed = subprocess.run(
        [sys.executable, "-m", "tests.support.tutorial", ROOT / "docs/start/tutorial.md"],
        cwd=folder,
        env={
            **os.environ,
            "NATS_URL": nats_server.url,
            "NO_COLOR": "1",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'admin'}",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert followed.returncode == 0, followed.stderr
    assert followed.stderr.count("$ ") >= 20


def test_the_first_service_is_written_as_its_page_shows(tmp_path: Path) -> None:
    page = (ROOT / "docs/start/first-service.md").read_text()
    shown = re.search(r"```console\n\$ trellis-gen (.*?)\n(.*?)```", page, re.DOTALL)
    assert shown is not None

    run = run_generator(*shown[1].split(), folder=tmp_path)

    assert is_printed(shown[2].splitlines(), run.stdout + run.stderr)
    written = {path.name for path in (tmp_path / "shop").rglob("*")}
    assert {Path(name).name for name in re.findall(r"^\| `([^`]+)`", page, re.MULTILINE)} <= written


def test_what_differs_from_the_page_is_noticed() -> None:
    printed = "created 01M8NS6E1BB8NKFHVDV79ZERQ3\nin 0.4 s, 3 of 3\n"

    assert is_printed(["created 01M8NFPFHT33DF651J9CSR0RAH", "in 12 ms, …"], printed)
    assert not is_printed(["in 12 ms, …", "created 01M8NFPFHT33DF651J9CSR0RAH"], printed)
    assert not is_printed(["in 12 ms, 2 of 3"], printed)


def test_edits_are_applied() -> None:
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": [3]}}) == {"a": {"c": 2, "d": [3]}}
    assert apply_edit("one\ntwo\nthree\n", " one\n-two\n+2\n@@\n three\n+four\n") == "one\n2\nthree\nfour\n"
