"""The command as its users run it: every run ends with an exit code and a sentence, never with a traceback."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.codegen.contracts import contract, job
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.guard import run_guarded

ROOT = Path(__file__).parents[3]
GENERATOR = [sys.executable, "-m", "trellis_codegen"]
HEAVY = ["argcomplete", "black", "click", "datamodel_code_generator", "jinja2", "pydantic", "pydantic_core"]


def command(
    *arguments: object, folder: Path = ROOT, stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GENERATOR, *map(str, arguments)],
        cwd=folder,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def written(folder: Path, **sections: object) -> Path:
    path = folder / "x.json"
    path.write_text(json.dumps({**contract(), **sections}))
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["facade", "none.json"], ExitCode.USAGE, "no such file or directory"),
        (["facade", "."], ExitCode.USAGE, "is a directory"),
        (["facade", "x.json/y.json"], ExitCode.USAGE, "not a directory"),
        (["facade", "a" * 300], ExitCode.USAGE, "file name too long"),
        (
            ["facade", "x.json", "--out", "x.json"],
            ExitCode.REFUSED,
            "x.json is a file, and the package needs a folder",
        ),
        (["facade", "x.json", "--package", "no name"], ExitCode.USAGE, "is not a valid Python package name"),
        (["facade", "x.json", "--chekc"], ExitCode.USAGE, 'no option "--chekc"; did you mean "--check"?'),
        (["facade", "x.json", "--chekc=yes"], ExitCode.USAGE, 'did you mean "--check"?'),
        (["facade", "x.json", "--format", "xml"], ExitCode.USAGE, "xml"),
        (
            ["facade", "x.json", "--check", "--dry-run"],
            ExitCode.USAGE,
            "--dry-run: not allowed with argument --check",
        ),
        (["facade", "x.json", "--watch", "--json"], ExitCode.USAGE, "text only"),
        (["facade", "x.json", "y.json"], ExitCode.USAGE, 'unexpected argument "y.json"'),
        (["faccade"], ExitCode.USAGE, "faccade"),
    ],
)
def test_a_mistake_is_reported_in_a_sentence(
    tmp_path: Path, arguments: list[str], code: ExitCode, words: str
) -> None:
    written(tmp_path)

    ended = command(*arguments, folder=tmp_path)

    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_missing_permissions_are_reported(tmp_path: Path) -> None:
    manifest = written(tmp_path)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)

    assert "permission denied" in command("facade", manifest, "--out", locked).stderr
    manifest.chmod(0)
    assert "permission denied" in command("facade", manifest).stderr


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = command("facade", written(tmp_path), "--check", "--out", tmp_path, stdout=full.fileno())

    assert (ended.returncode, "no space left on device" in ended.stderr) == (ExitCode.REFUSED, True)
    assert "Traceback" not in ended.stderr


def test_a_closed_pipe_ends_the_run_quietly(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = command("facade", written(tmp_path), "--check", "--out", tmp_path, stdout=writing)
    finally:
        os.close(writing)

    assert ended.returncode == ExitCode.BROKEN_PIPE
    assert [line for line in ended.stderr.splitlines() if "rror" in line] == []


def test_ctrl_c_ends_the_run_with_130(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.json"
    os.mkfifo(fifo)
    generator = subprocess.Popen(
        [*GENERATOR, "facade", fifo], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    # Opening the other end succeeds when the run has opened its own: it is inside then, reading.
    with generator as run, fifo.open("wb"):
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=20)[1]

    assert (run.returncode, said) == (ExitCode.INTERRUPTED, "")


def test_a_bug_is_reported_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def stumble() -> None:
        raise KeyError("x")

    assert run_guarded(stumble) == ExitCode.INTERNAL_ERROR
    assert capsys.readouterr().err.startswith("error: KeyError in cli/guard.py:")


@pytest.mark.parametrize("flags", [[], ["--check"], ["--check", "--json"], ["--dry-run"]])
def test_a_run_with_nothing_to_do_loads_nothing_heavy(tmp_path: Path, flags: list[str]) -> None:
    manifest = written(tmp_path, jobs={"keep": job()}, future=1)
    arguments = ["facade", str(manifest), "--out", str(tmp_path)]
    assert command(*arguments).returncode == ExitCode.OK
    code = (
        f"import sys; from trellis_codegen.cli import main; sys.argv[1:] = {[*arguments, *flags]!r}\n"
        f"try: main()\nfinally: print(sorted({{*{HEAVY!r}}} & sys.modules.keys()), file=sys.stderr)"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stderr.splitlines()[-1] == "[]"
    if "--json" not in flags:
        assert "warning: future: unknown field" in ended.stderr


def test_a_dry_run_names_the_files_and_writes_none(tmp_path: Path) -> None:
    ended = command("facade", written(tmp_path), "--out", tmp_path, "--dry-run")

    assert ended.returncode == ExitCode.OK
    assert f"write {tmp_path}/things_participant/service.py" in ended.stdout.splitlines()
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("arguments", [["--help"], ["facade", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        f"import sys; from trellis_codegen.cli import main; sys.argv[1:] = {arguments!r}\n"
        f"try: main()\nfinally: print(sorted({{*{HEAVY!r}}} & sys.modules.keys()), file=sys.stderr)"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stderr.splitlines()[-1] == "[]"
    assert ended.stdout


def test_without_a_command_the_help_is_printed_and_the_run_fails() -> None:
    ended = command()

    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "")
    assert "facade" in ended.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_the_completion_of_every_shell_can_be_printed(shell: str) -> None:
    ended = command("--show-completion", shell)

    assert ended.returncode == ExitCode.OK
    assert "trellis-gen" in ended.stdout


def test_the_completion_knows_the_options_of_a_command(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    line = "trellis-gen facade --ch"
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }

    subprocess.run(GENERATOR, env=environment, check=True)

    assert answer.read_text().split() == ["--check"]


def test_a_successful_run_is_reported_in_one_line(tmp_path: Path) -> None:
    written(tmp_path)

    first = command("facade", "x.json", folder=tmp_path)
    second = command("facade", tmp_path / "x.json", folder=tmp_path)
    third = command("facade", "x.json", "--check", folder=tmp_path)

    assert (first.stdout, second.stdout, third.stdout) == ("", "", "")
    assert first.stderr == (
        "wrote __init__.py, _contract.py, client.py, contract.json, models/__init__.py, models/thing.py and 2 more "
        "in things_participant\n"
    )
    assert second.stderr == third.stderr == "things_participant is up to date\n"


@pytest.mark.parametrize("flag", ["-q", "--json", "--format=json", "--format=sarif"])
def test_a_successful_run_can_be_quiet(tmp_path: Path, flag: str) -> None:
    written(tmp_path)

    assert command("facade", "x.json", flag, folder=tmp_path).stderr == ""
    assert command("facade", "x.json", flag, folder=tmp_path).stderr == ""


def test_paths_are_relative_to_the_current_folder(tmp_path: Path) -> None:
    manifest = written(tmp_path, jobs={"keep": job("None")})
    broken = command("facade", manifest, folder=tmp_path).stderr
    written(tmp_path)
    drift = command("facade", manifest, "--out", tmp_path / "src", "--check", folder=tmp_path)

    assert broken.startswith("x.json:1:")
    assert "+++ src/things_participant/service.py" in drift.stdout.splitlines()
    assert drift.stderr.startswith("src/things_participant: ")
    assert str(tmp_path) not in broken + drift.stdout + drift.stderr
