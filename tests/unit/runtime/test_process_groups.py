"""A group of processes as one: starts, restarts, signals, exit codes and probes. The processes run a script of a few lines."""

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from pydantic import JsonValue
from pydantic_core import from_json
from trellis_nats._support import process_group
from trellis_nats._support.signals import StopSignals, end_process_on_signal
from trellis_nats.health.listener import serve_probes
from trellis_nats.run import group, group_health
from trellis_nats.run.group import ProcessGroup
from trellis_nats.testing import LogEvent, LogSignals

from tests.support.eventually import eventually
from tests.support.listening import listening
from tests.support.probe import probe

SCRIPT = """
import json, os, signal, sys, time
folder, does, *health = sys.argv[1:]
number = os.environ["TRELLIS_PROCESS"]
file = os.open(f"{folder}/{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def say(word): os.write(file, f"{word} ".encode())
def tell(*words): os.write(int(os.environ["_TRELLIS_GROUP"]), json.dumps(words).encode() + b"\\n")
def on_term(*_):
    say("TERM")
    if does == "ends":
        tell("stopping")
        sys.exit(0)
    if does == "ends badly": sys.exit(3)
if does == "is missing": sys.exit(2)
if does == "runs as it is imported": signal.pause()
signal.signal(signal.SIGTERM, on_term)
tell("loaded")
if does == "crashes": sys.exit(3)
if does == "returns": sys.exit(0)
if health: tell("health", "0", health[int(number) - 1])
say("runs")
while True: signal.pause()
"""


@pytest.fixture
async def log_signals() -> AsyncIterator[LogSignals]:
    with LogSignals() as signals:
        yield signals


class Group:
    """A group that runs the script, and what its processes said."""

    def __init__(
        self, folder: Path, does: str, *health: str, count: int = 2, kill_after: float | None = None
    ) -> None:
        self.folder = folder
        command = (sys.executable, "-I", "-S", "-c", SCRIPT, str(folder), does, *health)
        self.group = ProcessGroup(command, count, kill_after=kill_after)
        self.exit_code: asyncio.Task[int] = asyncio.create_task(self.group.run())

    def said(self) -> list[list[str]]:
        """Return the words of each process that has said something, by number."""
        return [path.read_text().split() for path in sorted(self.folder.iterdir())]

    async def all_said(self, *words: str, count: int = 2) -> None:
        """Wait until every process has said these words, and no others."""
        await eventually(lambda: self.said() == [[*words]] * count)


@asynccontextmanager
async def running(
    folder: Path, does: str, *health: str, count: int = 2, kill_after: float | None = None
) -> AsyncGenerator[Group]:
    """Run a group until the end of the block; processes that still run then are killed."""
    grouped = Group(folder, does, *health, count=count, kill_after=kill_after)
    try:
        yield grouped
    finally:
        while not grouped.exit_code.done():
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait((grouped.exit_code,), timeout=0.2)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def test_a_signal_reaches_all_processes_once(tmp_path: Path) -> None:
    async with running(tmp_path, "ends", count=3) as grouped:
        await grouped.all_said("runs", count=3)
        terminate()

        assert await grouped.exit_code == 0
    assert grouped.said() == [["runs", "TERM"]] * 3


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
async def test_the_second_signal_is_passed_on_and_the_third_kills(
    tmp_path: Path, which: signal.Signals
) -> None:
    async with running(tmp_path, "stays") as grouped:
        await grouped.all_said("runs")
        os.kill(os.getpid(), which)
        await grouped.all_said("runs", "TERM")
        os.kill(os.getpid(), which)
        await grouped.all_said("runs", "TERM", "TERM")
        os.kill(os.getpid(), which)

        assert await grouped.exit_code == 1


async def test_what_still_runs_after_the_limit_is_killed(tmp_path: Path) -> None:
    async with running(tmp_path, "stays", kill_after=0.3) as grouped:
        await grouped.all_said("runs")
        terminate()

        assert await grouped.exit_code == 1
    assert grouped.said() == [["runs", "TERM"]] * 2


async def test_a_process_that_stops_badly_is_the_exit_code_of_the_group(tmp_path: Path) -> None:
    async with running(tmp_path, "ends badly") as grouped:
        await grouped.all_said("runs")
        terminate()

        assert await grouped.exit_code == 1


async def test_a_process_that_dies_is_started_again_and_the_others_run_on(
    tmp_path: Path, log_signals: LogSignals
) -> None:
    async with running(tmp_path, "ends") as grouped:
        await grouped.all_said("runs")
        killed, other = (slot.pid for slot in grouped.group.slots)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        record = await log_signals.wait_for(LogEvent.PROCESS_ENDED)
        await eventually(lambda: grouped.said() == [["runs", "runs"], ["runs"]])

        assert record.getMessage() == f"process 1 (pid {killed}) was ended by SIGKILL; it starts again in 1 s"
        assert grouped.group.slots[1].pid == other
        assert grouped.group.slots[0].pid not in (None, killed)
        terminate()
        assert await grouped.exit_code == 0


async def test_the_waits_of_a_process_that_dies_again_and_again_grow(
    tmp_path: Path, log_signals: LogSignals
) -> None:
    async with running(tmp_path, "crashes", count=1) as grouped:
        await log_signals.wait_for(LogEvent.PROCESS_ENDED, count=2)
        texts = [record.getMessage() for record in log_signals.of(LogEvent.PROCESS_ENDED)]
        terminate()

        assert await grouped.exit_code == 0
    assert [text.rpartition(") ")[2] for text in texts] == [
        "ended with code 3; it starts again in 1 s",
        "ended with code 3; it starts again in 2 s",
    ]


async def test_a_process_that_returns_is_warned_of_and_waits_as_after_a_crash(
    tmp_path: Path, log_signals: LogSignals
) -> None:
    async with running(tmp_path, "returns", count=1) as grouped:
        await log_signals.wait_for(LogEvent.PROCESS_ENDED, count=2)
        records = log_signals.of(LogEvent.PROCESS_ENDED)
        terminate()

        assert await grouped.exit_code == 0
    advice = (
        "service.run() had got no signal: the function must run until SIGTERM, as `await service.run()` does"
    )
    assert [(record.levelname, record.getMessage().partition(") ")[2]) for record in records] == [
        ("WARNING", f"ended with code 0; it starts again in 1 s. {advice}"),
        ("WARNING", f"ended with code 0; it starts again in 2 s. {advice}"),
    ]


async def test_a_process_that_was_stopped_alone_is_replaced_without_a_warning(
    tmp_path: Path, log_signals: LogSignals
) -> None:
    async with running(tmp_path, "ends", count=1) as grouped:
        await grouped.all_said("runs", count=1)
        stopped = grouped.group.slots[0].pid
        assert stopped is not None
        os.kill(stopped, signal.SIGTERM)
        record = await log_signals.wait_for(LogEvent.PROCESS_ENDED)
        terminate()

        assert await grouped.exit_code == 0
    assert record.levelname == "INFO"
    assert record.getMessage() == f"process 1 (pid {stopped}) ended with code 0; it starts again in 1 s"


async def stop_while_connecting() -> None:
    with suppress(SystemExit), end_process_on_signal():
        terminate()
        await asyncio.Event().wait()


async def stop_while_running() -> None:
    signals = StopSignals(lambda: None)
    signals.install()
    terminate()
    await signals.requested.wait()
    signals.remove()


@pytest.mark.parametrize("stop", [stop_while_connecting, stop_while_running])
async def test_a_process_tells_its_group_of_a_signal(
    stop: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, its = socket.socketpair()
    with ours, its:
        monkeypatch.setattr(process_group, "_link", its)
        await stop()

        assert ours.recv(100) == b'["stopping"]\n'


async def test_a_program_that_cannot_be_loaded_is_started_once(
    tmp_path: Path, log_signals: LogSignals
) -> None:
    async with running(tmp_path, "is missing", count=3) as grouped:
        assert await grouped.exit_code == 2
    record = await log_signals.wait_for(LogEvent.GROUP_FAILED)
    assert "ended with code 2 before the program was loaded: no other one is started" in record.getMessage()
    assert len(grouped.said()) == 1


async def test_a_program_that_runs_while_it_is_imported_is_warned_of(
    tmp_path: Path, log_signals: LogSignals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "_LOAD_LONG", 0.1)
    async with running(tmp_path, "runs as it is imported"):
        record = await log_signals.wait_for(LogEvent.PROGRAM_NOT_LOADED)

    assert 'under `if __name__ == "__main__":`' in record.getMessage()


async def test_a_process_for_which_no_file_can_be_opened_is_started_later(
    tmp_path: Path, log_signals: LogSignals, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, refusals = socket.socketpair, iter([OSError(errno.EMFILE, "Too many open files")])

    async with running(tmp_path, "ends") as grouped:
        await grouped.all_said("runs")
        killed = grouped.group.slots[0].pid
        assert killed is not None

        def open_pair() -> tuple[socket.socket, socket.socket]:
            for refusal in refusals:
                raise refusal
            return pairs()

        monkeypatch.setattr(socket, "socketpair", open_pair)
        os.kill(killed, signal.SIGKILL)
        await log_signals.wait_for(LogEvent.PROCESS_ENDED, count=2)
        await eventually(lambda: grouped.said() == [["runs", "runs"], ["runs"]])
        terminate()

        assert await grouped.exit_code == 0
    texts = [record.getMessage() for record in log_signals.of(LogEvent.PROCESS_ENDED)]
    assert texts[1] == (
        "process 1 could not be started: [Errno 24] Too many open files; it starts again in 2 s"
    )


async def test_a_command_that_does_not_exist_ends_the_group(log_signals: LogSignals) -> None:
    assert await ProcessGroup(["/no/python"], 2, kill_after=None).run() == 1

    record = await log_signals.wait_for(LogEvent.GROUP_FAILED)
    assert "could not be started: [Errno 2] No such file or directory" in record.getMessage()


class Probed:
    """What one process answers."""

    def __init__(self, *, ready: bool) -> None:
        self.report: dict[str, JsonValue] = {"status": "healthy" if ready else "degraded", "ready": ready}

    async def is_alive(self) -> bool:
        return True

    async def readiness(self) -> tuple[bool, dict[str, JsonValue]]:
        return self.report["ready"] is True, self.report


async def probed_address(signals: LogSignals) -> str:
    record = await signals.wait_for(LogEvent.GROUP_PROBED)
    return record.getMessage().rpartition(" ")[2]


async def test_the_group_is_ready_when_every_process_is(tmp_path: Path, log_signals: LogSignals) -> None:
    second = Probed(ready=False)
    async with (
        serve_probes(Probed(ready=True), "0") as one,
        serve_probes(second, "0") as two,
        running(tmp_path, "ends", one, two) as grouped,
    ):
        address = await probed_address(log_signals)
        await grouped.all_said("runs")
        before = await eventually(lambda: probe(address, "/readyz"))
        second.report = {"status": "healthy", "ready": True}
        after, alive = await probe(address, "/readyz"), await probe(address, "/livez")
        pids = [slot.pid for slot in grouped.group.slots]

    assert (before.status, after.status, alive.status) == (503, 200, 200)
    report = from_json(before.body)
    assert (report["status"], report["ready"]) == ("degraded", False)
    assert report["processes"] == [
        {"process": 1, "pid": pids[0], "status": "healthy", "ready": True},
        {"process": 2, "pid": pids[1], "status": "degraded", "ready": False},
    ]


async def test_the_group_is_not_alive_when_a_process_does_not_answer(
    tmp_path: Path, log_signals: LogSignals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_health, "_LIMIT", 0.1)

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await asyncio.Event().wait()

    async with (
        serve_probes(Probed(ready=True), "0") as one,
        listening(silent) as port,
        running(tmp_path, "ends", one, f"127.0.0.1:{port}") as grouped,
    ):
        address = await probed_address(log_signals)
        await grouped.all_said("runs")
        await eventually(lambda: is_dead(address))
        report = from_json((await probe(address, "/readyz")).body)

    assert report["processes"][1]["error"] == "it does not answer: its event loop is blocked"


async def is_dead(address: str) -> bool:
    return (await probe(address, "/livez")).status == 503


async def test_the_group_is_alive_while_a_process_starts_again(
    tmp_path: Path, log_signals: LogSignals
) -> None:
    async with (
        serve_probes(Probed(ready=True), "0") as one,
        serve_probes(Probed(ready=True), "0") as two,
        running(tmp_path, "ends", one, two) as grouped,
    ):
        address = await probed_address(log_signals)
        await grouped.all_said("runs")
        killed = grouped.group.slots[1].pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await log_signals.wait_for(LogEvent.PROCESS_ENDED)
        alive, ready = await probe(address, "/livez"), await probe(address, "/readyz")

    assert (alive.status, ready.status) == (200, 503)
    assert from_json(ready.body)["processes"][1] == {
        "process": 2,
        "pid": None,
        "status": "unhealthy",
        "ready": False,
        "error": f"(pid {killed}) was ended by SIGKILL",
    }
