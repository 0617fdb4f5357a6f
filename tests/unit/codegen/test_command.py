"""The command as its users run it: every end has an exit code and a sentence, and none a traceback."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.codegen.contracts import contract, job
from trellis_codegen.cli.application import application
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.guard import guarded
from trellis_codegen.cli.requests import Request, plain_request

ROOT = Path(__file__).parents[3]
GENERATOR = [sys.executable, "-m", "trellis_codegen"]
HEAVY = ["black", "click", "datamodel_code_generator", "jinja2", "pydantic", "pydantic_core", "typer"]


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
        (["facade", "x.json", "--out", "x.json"], ExitCode.REFUSED, "x.json"),
        (["facade", "x.json", "--package", "no name"], ExitCode.USAGE, "is no name for a package"),
        (["facade", "x.json", "--chekc"], ExitCode.USAGE, "--chekc"),
        (["facade", "x.json", "--format", "xml"], ExitCode.USAGE, "xml"),
        (["facade", "x.json", "--check", "--dry-run"], ExitCode.USAGE, "exclude each other"),
        (["facade", "x.json", "--watch", "--json"], ExitCode.USAGE, "text only"),
        (["facade", "x.json", "y.json"], ExitCode.USAGE, "y.json"),
        (["faccade"], ExitCode.USAGE, "faccade"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    tmp_path: Path, arguments: list[str], code: ExitCode, words: str
) -> None:
    written(tmp_path)

    ended = command(*arguments, folder=tmp_path)

    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_what_may_not_be_read_or_written_is_said(tmp_path: Path) -> None:
    manifest = written(tmp_path)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)

    assert "permission denied" in command("facade", manifest, "--out", locked).stderr
    manifest.chmod(0)
    assert "permission denied" in command("facade", manifest).stderr


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = command("facade", written(tmp_path), "--check", "--out", tmp_path, stdout=full.fileno())

    assert (ended.returncode, "no space left on device" in ended.stderr) == (ExitCode.REFUSED, True)
    assert "Traceback" not in ended.stderr


def test_a_reader_that_has_gone_ends_the_run_quietly(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = command("facade", written(tmp_path), "--check", "--out", tmp_path, stdout=writing)
    finally:
        os.close(writing)

    assert ended.returncode == ExitCode.UNHEARD
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

    assert guarded(stumble) == ExitCode.BROKEN
    assert capsys.readouterr().err.startswith("error: KeyError in cli/guard.py:")


@pytest.mark.parametrize("flags", [[], ["--check"], ["--check", "--json"], ["--dry-run"]])
def test_a_run_with_nothing_to_do_loads_nothing_heavy(tmp_path: Path, flags: list[str]) -> None:
    manifest = written(tmp_path, jobs={"keep": job()}, future=1)
    arguments = ["facade", str(manifest), "--out", str(tmp_path)]
    assert command(*arguments).returncode == ExitCode.FINE
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

    assert ended.returncode == ExitCode.FINE
    assert f"write {tmp_path}/things_participant/service.py" in ended.stdout.splitlines()
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@given(
    st.lists(
        st.sampled_from(
            [
                "x.json",
                "o",
                "json",
                "--out",
                "--out=o",
                "--package=p",
                "--check",
                "--dry-run",
                "--strict",
                "--no-strict",
                "-q",
                "--quiet",
                "--json",
                "--format",
                "--format=sarif",
            ]
        ),
        max_size=5,
    )
)
def test_the_short_way_reads_a_command_line_as_typer_does(arguments: list[str]) -> None:
    short = plain_request(["facade", *arguments])
    asked: list[Request] = []

    def run(request: Request) -> ExitCode:
        asked.append(request)
        return ExitCode.FINE

    if short is not None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("trellis_codegen.cli.facade.run", run)
            application(["facade", *arguments], standalone_mode=False)

        assert asked == [short]


def test_mistakes_and_questions_are_left_to_typer() -> None:
    for arguments in (
        ["--help"],
        ["facade", "--help"],
        ["facade", "--watch"],
        ["facade", "--out"],
        ["validate"],
    ):
        assert plain_request(arguments) is None
