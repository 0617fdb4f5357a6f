"""The demo as a newcomer runs it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, str(ROOT / "examples/orders_service/demo.py")]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def ended(pids: list[int]) -> bool:
    due = time.monotonic() + 10
    while time.monotonic() < due:
        if not any(map(is_alive, pids)):
            return True
        time.sleep(0.01)
    return False


def test_the_demo_follows_one_order_until_it_has_shipped(tmp_path: Path) -> None:
    run = subprocess.run(
        DEMO, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}, check=False
    )

    assert (run.returncode, run.stderr) == (0, ""), run.stdout + run.stderr
    seen = re.findall(r" s  (\S+) +(created|started|retry|completed)\b", run.stdout)
    # A job's last event and the first ones of the job that its handler created come in either order.
    by_queue = {queue: [event for name, event in seen if name == queue] for queue, _ in seen}
    assert by_queue == {
        "reserve-inventory": ["created", "started", "completed"],
        "charge-payment": ["created", "started", "retry", "started", "completed"],
        "notify-warehouse": ["created", "started", "completed"],
    }
    steps = re.findall(r" s  Orders\.Process +(\S+)", run.stdout)
    assert steps[-3:] == ["reserved", "paid", "shipped"]
    assert "Operation Orders.Process: the order is shipped" in run.stdout
    placed = re.search(r"Orders\.Create: order (\S+)", run.stdout)
    assert placed is not None
    assert f"Feed Orders.Live: order {placed[1]} has shipped" in run.stdout
    assert "the operation is cancelled, the order is cancelled" in run.stdout
    answers = re.findall(r"^  (\S+) +\S+ +(accepted|rejected|coalesced)(.*)$", run.stdout, re.MULTILINE)
    assert [(queue, answer) for queue, answer, _ in answers] == [
        *[("sync-tickets", answer) for answer in ("accepted", "accepted", "rejected")],
        *[("refresh-catalog", answer) for answer in ("accepted", "accepted", "coalesced")],
        *[("publish-stock", "accepted")] * 3,
    ]
    assert answers[-1][2].startswith(" in place of job")
    assert "7 jobs were stored: 6 completed, 1 skipped" in run.stdout
    deploy = run.stdout.partition("A deploy:")[2]
    assert "break JOB_PAYLOAD_FIELD_RENAMED" in deploy
    assert (
        "3 jobs of the first version wait: the next one refuses 3 of them, /totalCents: Field required"
        in deploy
    )
    assert "3 jobs of the first version wait: the next one reads all of them" in deploy
    ends = re.findall(
        r"of the (first|next) +version +completed +attempt 1 +the (first|next) version charged", deploy
    )
    assert [writer for writer, _ in ends] == ["first"] * 3 + ["next"] * 3
    assert {worker for writer, worker in ends if writer == "next"} == {"next"}
    assert "6 jobs of two versions: 6 completed at their first attempt" in deploy
    assert list(tmp_path.iterdir()) == [], "it leaves a file behind"
    assert ended([int(pid) for pid in re.findall(r"process (\d+)", run.stdout)]), "it leaves a process behind"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, sent: signal.Signals) -> None:
    demo = subprocess.Popen(
        DEMO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    if demo.stdout is None:
        raise RuntimeError("no output")
    output = ""
    while "retry" not in output:
        line = demo.stdout.readline()
        assert line, f"it ended too early: {output}"
        output += line
    demo.send_signal(sent)
    rest, errors = demo.communicate(timeout=20)

    assert (demo.returncode, errors) == (130, "")
    assert "interrupted" in rest
    assert list(tmp_path.iterdir()) == []
    assert ended([int(pid) for pid in re.findall(r"process (\d+)", output)])


def test_a_demo_whose_service_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "structlog.py").write_text('raise RuntimeError("no logs today")')
    run = subprocess.run(
        DEMO, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(tmp_path)}, check=False
    )

    assert run.returncode == 1
    assert "the demo failed: the service ended with code 1" in run.stdout
    assert "no logs today" in run.stdout
    assert "Traceback" not in run.stderr
