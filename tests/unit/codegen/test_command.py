"""The command as its users run it: every run ends with an exit code and a sentence, never with a traceback."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.generator import run_generator
from tests.unit.codegen.contracts import contract, job
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.guard import run_guarded

ROOT = Path(__file__).parents[3]
GENERATOR = [sys.executable, "-m", "trellis_codegen"]
HEAVY = ["black", "datamodel_code_generator", "jinja2", "pydantic", "pydantic_core", "rich"]


def command(*arguments: object, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own: for what a process has and a function has not."""
    return subprocess.run(
        [*GENERATOR, *map(str, arguments)],
        cwd=ROOT,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def complete(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GENERATOR, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
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
        (["facade", "x.json", "--chekc"], ExitCode.USAGE, 'no such option: --chekc; did you mean "--check"?'),
        (["facade", "x.json", "--chekc=yes"], ExitCode.USAGE, 'did you mean "--check"?'),
        (["facade", "x.json", "-x"], ExitCode.USAGE, "no such option: -x"),
        (["facade", "x.json", "--out"], ExitCode.USAGE, "option '--out' requires an argument"),
        (
            ["facade", "x.json", "--format", "xml"],
            ExitCode.USAGE,
            "invalid value for '--format': 'xml' is not one of 'text', 'json', 'github', 'sarif'",
        ),
        (
            ["facade", "x.json", "--json", "--format", "text"],
            ExitCode.USAGE,
            "--json and --format text exclude each other",
        ),
        (
            ["validate", "x.json", "--json", "--format", "sarif"],
            ExitCode.USAGE,
            "--json and --format sarif exclude each other",
        ),
        (
            ["facade", "x.json", "--check", "--dry-run"],
            ExitCode.USAGE,
            "--check and --dry-run exclude each other",
        ),
        (
            ["facade", "x.json", "--check", "--watch"],
            ExitCode.USAGE,
            "--check and --watch exclude each other",
        ),
        (["facade", "x.json", "--watch", "--json"], ExitCode.USAGE, "text only"),
        (["facade", "x.json", "y.json"], ExitCode.USAGE, "unexpected extra argument(s) (y.json)"),
        (["validate"], ExitCode.USAGE, "no contract is named"),
        (["faccade"], ExitCode.USAGE, "no such command 'faccade'; did you mean 'facade'?"),
        (["--verison"], ExitCode.USAGE, 'did you mean "--version"?'),
    ],
)
def test_a_mistake_is_reported_in_a_sentence(
    tmp_path: Path, arguments: list[str], code: ExitCode, words: str
) -> None:
    written(tmp_path)

    ended = run_generator(*arguments, folder=tmp_path)

    assert ended.exit_code == code, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_missing_permissions_are_reported(tmp_path: Path) -> None:
    manifest = written(tmp_path)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)

    assert "permission denied" in run_generator("facade", manifest, "--out", locked).stderr
    manifest.chmod(0)
    assert "permission denied" in run_generator("facade", manifest).stderr


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
    assert run_generator(*arguments).exit_code == ExitCode.OK
    code = (
        f"import sys; from trellis_codegen.cli import main; sys.argv[1:] = {[*arguments, *flags]!r}\n"
        f"try: main()\nfinally: print(sorted({{*{HEAVY!r}}} & sys.modules.keys()), file=sys.stderr)"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stderr.splitlines()[-1] == "[]"
    if "--json" not in flags:
        assert "warning[unknown-field]: future: unknown field" in ended.stderr


def test_a_dry_run_names_the_files_and_writes_none(tmp_path: Path) -> None:
    ended = run_generator("facade", written(tmp_path), "--out", tmp_path, "--dry-run")

    assert ended.exit_code == ExitCode.OK
    assert f"write {tmp_path}/things_participant/service.py" in ended.stdout.splitlines()
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["-h"],
        ["facade", "--help"],
        ["facade", "-h"],
        ["digest", "-h"],
        ["breaking", "-h"],
        ["--version"],
    ],
)
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


def test_a_mistake_is_followed_by_the_help_to_ask_for() -> None:
    assert command("facade", "--chekc").stderr.splitlines()[1:] == [
        'run "trellis-gen facade --help" for usage'
    ]
    assert command("--chekc").stderr.splitlines()[1:] == ['run "trellis-gen --help" for usage']


def test_json_may_be_asked_for_twice(tmp_path: Path) -> None:
    ended = run_generator("validate", written(tmp_path), "--json", "--format", "json")

    assert (ended.exit_code, json.loads(ended.stdout)["problems"]) == (ExitCode.OK, [])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_the_completion_of_every_shell_can_be_printed(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TRELLIS_GEN_COMPLETE", f"source_{shell}")

    ended = run_generator()

    assert ended.exit_code == ExitCode.OK
    assert "trellis-gen" in ended.stdout


def test_the_completion_can_be_installed(tmp_path: Path) -> None:
    # With this variable the options take the name of a shell; otherwise typer detects the one that started the command.
    environment = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}

    shown = complete("--show-completion", "bash", **environment)
    installed = complete("--install-completion", "bash", **environment)

    assert (shown.returncode, installed.returncode) == (ExitCode.OK, ExitCode.OK)
    assert "_TRELLIS_GEN_COMPLETE=complete_bash" in shown.stdout
    assert (tmp_path / ".bash_completions" / "trellis-gen.sh").read_text().strip() == shown.stdout.strip()


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("trellis-gen fa", ["facade"]),
        ("trellis-gen facade --ch", ["--check"]),
        ("trellis-gen facade --format ", ["text", "json", "github", "sarif"]),
        ("trellis-gen validate x.json --st", ["--strict"]),
    ],
)
def test_the_completion_knows_commands_options_and_choices(
    line: str, answers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_TRELLIS_GEN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))

    ended = run_generator()

    assert (ended.exit_code, ended.stdout.split()) == (ExitCode.OK, answers)


def test_a_successful_run_is_reported_in_one_line(tmp_path: Path) -> None:
    written(tmp_path)

    first = run_generator("facade", "x.json", folder=tmp_path)
    second = run_generator("facade", tmp_path / "x.json", folder=tmp_path)
    third = run_generator("facade", "x.json", "--check", folder=tmp_path)

    assert (first.stdout, second.stdout, third.stdout) == ("", "", "")
    assert first.stderr == (
        "wrote __init__.py, _contract.py, client.py, contract.json, models/__init__.py, models/thing.py and 2 more "
        "in things_participant\n"
    )
    assert second.stderr == third.stderr == "things_participant is up to date\n"


@pytest.mark.parametrize("flag", ["-q", "--json", "--format=json", "--format=sarif"])
def test_a_successful_run_can_be_quiet(tmp_path: Path, flag: str) -> None:
    written(tmp_path)

    assert run_generator("facade", "x.json", flag, folder=tmp_path).stderr == ""
    assert run_generator("facade", "x.json", flag, folder=tmp_path).stderr == ""


def test_paths_are_relative_to_the_current_folder(tmp_path: Path) -> None:
    manifest = written(tmp_path, jobs={"keep": job("None")})
    broken = run_generator("facade", manifest, folder=tmp_path).stderr
    written(tmp_path)
    drift = run_generator("facade", manifest, "--out", tmp_path / "src", "--check", folder=tmp_path)

    assert broken.startswith("x.json:1:")
    assert "+++ src/things_participant/service.py" in drift.stdout.splitlines()
    assert drift.stderr.startswith("src/things_participant: ")
    assert str(tmp_path) not in broken + drift.stdout + drift.stderr
