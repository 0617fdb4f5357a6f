"""`trellis-gen init`: what it writes runs as it is, and nothing that exists is touched."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from pydantic import JsonValue
from typing_extensions import override

from tests.golden.init.projects import PROJECTS, find_golden, make_projects, show_project
from tests.support import project_process
from tests.support.build_once import build_once
from tests.support.generator import run_generator
from tests.unit.codegen.contracts import contract, rpc
from trellis_codegen.cli.application import run_command
from trellis_codegen.cli.starting.names import find_name_problem, suggest_project_name
from trellis_codegen.output.files import OutputRefused
from trellis_codegen.output.new_files import write_new_files

ROOT = Path(__file__).parents[3]
ORDERS = ROOT / "contracts" / "orders_service.manifest.json"


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a folder with a project of each template."""
    return build_once(tmp_path_factory, worker_id, "projects", make_projects)


def write_manifest(path: Path, **sections: JsonValue) -> None:
    path.write_text(json.dumps(contract(**sections)))


def list_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# --- what is written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROJECTS)
def test_a_project_is_the_expected_one(projects: Path, name: str) -> None:
    assert show_project(projects / name) == find_golden(name).read_text()


def test_the_package_of_a_project_is_what_the_facade_writes(projects: Path) -> None:
    for name in PROJECTS:
        checked = run_generator("facade", "--check", folder=projects / name)
        assert (checked.exit_code, checked.stdout) == (0, ""), name
        manifests = (projects / name / "contracts").glob("*.json")
        assert run_generator("fmt", "--check", *manifests).exit_code == 0, name


def test_the_tests_and_the_demo_of_each_project_work(projects: Path) -> None:
    script, folders = Path(project_process.__file__), [projects / name for name in PROJECTS]
    # -P: what stands next to the script is not for the projects.
    ended = subprocess.run(
        [sys.executable, "-P", script, *folders], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [line for line in ended.stdout.splitlines() if line.endswith(" 0")] == [
        f"{name} 0" for name in PROJECTS
    ]
    for shown in (
        "4 passed",
        "ConnectionError: the mail server is busy",
        "2 lines imported",
        "is ready: In 2026-01",
    ):
        assert shown in ended.stdout


def test_linters_and_formatters_find_nothing(projects: Path) -> None:
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        ended = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "."],
            cwd=projects,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout


def test_the_editor_schema_of_a_project_is_what_the_command_prints(projects: Path) -> None:
    manifest = projects / "mailing" / "contracts" / "mailing.manifest.json"
    schema = manifest.parent / json.loads(manifest.read_text())["$schema"]

    assert schema.read_text() == run_generator("schema").stdout


def test_a_client_gets_the_contracts_that_its_service_uses(tmp_path: Path) -> None:
    """The service of the client has an event group, which the stand-in leaves to others."""
    things: JsonValue = {"schema": "Thing"}
    call: dict[str, JsonValue] = {"A.B": rpc("A.B", input=things, output=things)}
    use: JsonValue = {"contract": "others@v1", "rpc": {"call": ["A.B"]}}
    event: JsonValue = {"version": "v1", "subject": "events.v1.A.C", "event": things}
    write_manifest(tmp_path / "others.json", id="others@v1", rpc=call)
    write_manifest(
        tmp_path / "things.json",
        rpc=call,
        events={"A.C": event},
        eventConsumers={"auditors": {"self": ["A.C"]}},
        uses={"required": {"others": use}},
    )

    ended = run_generator("init", "shop", "--contract", "things.json", folder=tmp_path)
    checked = run_generator("facade", "--check", folder=tmp_path / "shop")

    assert (ended.exit_code, checked.exit_code) == (0, 0), ended.stderr
    assert list_files(tmp_path / "shop" / "contracts") == ["others.json", "things.json"]
    assert "service.consumers.auditors.leave_to_others()" in (tmp_path / "shop/fake_service.py").read_text()


# --- what is printed ----------------------------------------------------------------------------------------------


def test_a_dry_run_lists_the_files_and_the_next_commands_and_writes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    ended = run_generator("init", "mailing", "--out", "a/b", "--dry-run", "--json", folder=tmp_path)

    project = json.loads(ended.stdout)["project"]
    assert (project["name"], project["template"], project["written"]) == ("mailing", "jobs", False)
    assert {"main.py", "pyproject.toml", "mailing_participant/jobs.py"} <= {*project["files"]}
    assert project["commands"] == [
        "cd a/b",
        "python -m venv .venv && . .venv/bin/activate",
        "python -m pip install --upgrade pip && python -m pip install --group dev",
        "python demo.py",
        "pytest",
    ]
    assert [*tmp_path.iterdir()] == []


# --- which name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "problem", "better"),
    [
        ("Mailing", "is not a valid name", "mailing"),
        ("my mailing", "is not a valid name", "my-mailing"),
        ("my.mailing", "is not a valid name", "my-mailing"),
        ("../mailing", "is not a valid name", "mailing"),
        ("2fa", "is not a valid name", "n2fa"),
        ("Café", "is not a valid name", "cafe"),
        ("郵便", "is not a valid name", "my-service"),
        ("", "is not a valid name", "my-service"),
        ("class", "is a keyword of Python", "class-service"),
        ("queue", "is a module of Python's standard library", "queue-service"),
        ("pytest", "is a package that the project installs", "pytest-service"),
        ("a" * 51, "is longer than 50 characters", "a" * 50),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_a_better_one(
    tmp_path: Path, name: str, problem: str, better: str
) -> None:
    ended = run_generator("init", name, folder=tmp_path)

    assert ended.exit_code == 2
    assert f'"{name}" {problem}' in ended.stderr
    assert ended.stderr.endswith(f"; try: trellis-gen init {better}\n")
    assert find_name_problem(better) is None
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("text", ["import", "a-" * 60, "  ", "import" * 9, "-x-", "trellis-nats"])
def test_what_is_suggested_can_be_used(text: str) -> None:
    assert find_name_problem(suggest_project_name(text)) is None


def test_without_a_name_the_project_is_the_current_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mailing"
    folder.mkdir()

    ended = run_generator("init", folder=folder)

    assert (ended.exit_code, ended.stdout) == (0, "")
    assert "Next:\n" in ended.stderr
    assert "  cd " not in ended.stderr
    assert (folder / "mailing_participant" / "jobs.py").is_file()

    other = tmp_path / "My Folder"
    other.mkdir()
    ended = run_generator("init", folder=other)
    assert ended.exit_code == 2
    assert 'the name of this folder, "My Folder", is not a valid name' in ended.stderr


# --- what is refused ----------------------------------------------------------------------------------------------


def test_no_existing_file_is_overwritten_and_all_are_named(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    for name in ("main.py", "README.md", "tests/test_other.py"):
        (tmp_path / name).write_text("mine")
    before = list_files(tmp_path)

    ended = run_generator("init", "mailing", "--out", ".", folder=tmp_path)

    assert ended.exit_code == 5
    assert ended.stderr.startswith("error: README.md, main.py already exist; nothing was written")
    assert list_files(tmp_path) == before
    for name in ("main.py", "README.md"):
        (tmp_path / name).unlink()
    assert run_generator("init", "mailing", "--out", ".", folder=tmp_path).exit_code == 0
    assert (tmp_path / "tests/test_other.py").read_text() == "mine"


def test_of_many_files_in_the_way_the_first_are_named(tmp_path: Path) -> None:
    run_generator("init", "mailing", folder=tmp_path)

    again = run_generator("init", "mailing", folder=tmp_path)

    assert again.exit_code == 5
    assert re.match(
        r"error: mailing/\.gitignore, mailing/README\.md(, [\w./]+){3} and \d+ more files already exist; nothing was written",
        again.stderr,
    )


def run_git(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false", *arguments],  # noqa: S607 - git is found as the user finds it
        cwd=folder,
        check=True,
    )


def test_a_new_project_is_compared_with_its_last_commit(tmp_path: Path) -> None:
    run_generator("init", "mailing", folder=tmp_path)
    project = tmp_path / "mailing"

    outside = run_generator("breaking", folder=project)
    run_git(project, "init", "-q")
    without_commit = run_generator("breaking", folder=project)
    run_git(project, "add", "-A")
    run_git(project, "commit", "-qm", "Begin")
    unchanged = run_generator("breaking", folder=project)
    manifest = project / "contracts/mailing.manifest.json"
    manifest.write_text(manifest.read_text().replace('"text"', '"words"'))
    broken = run_generator("breaking", folder=project)

    assert "not in a repository: run git init, and commit the contracts" in outside.stderr
    assert "this repository has no commit yet; commit the contracts first" in without_commit.stderr
    assert (outside.exit_code, without_commit.exit_code) == (2, 2)
    assert unchanged.exit_code == 0, unchanged.stderr
    assert broken.exit_code == 1


@pytest.mark.parametrize("in_the_way", ["file", "link"])
def test_what_is_in_the_way_of_a_folder_is_named(tmp_path: Path, in_the_way: str) -> None:
    if in_the_way == "file":
        (tmp_path / "tests").write_text("mine")
    else:
        (tmp_path / "tests").symlink_to(tmp_path)

    with pytest.raises(OutputRefused, match=r"tests already exists; nothing was written"):
        write_new_files(tmp_path, {"tests/test_a.py": "", "b.py": ""})

    assert not (tmp_path / "b.py").exists()


@pytest.mark.parametrize("is_new", [True, False])
def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path: Path, *, is_new: bool) -> None:
    folder = tmp_path / "new" if is_new else tmp_path
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    placed: list[Path] = []

    def place(path: Path, target: Path) -> None:
        placed.append(path)
        if len(placed) > 2:
            raise full
        os.link(target, path)

    with (
        mock.patch.object(Path, "hardlink_to", place),
        mock.patch.object(Path, "rename", side_effect=full),
        pytest.raises(OutputRefused, match="no space left on device; nothing was written"),
    ):
        write_new_files(folder, {"a.py": "1", "b/c.py": "2", "b/d/e.py": "3"})

    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--template", "client"), (2, "a client calls a service: name its contract, as in --contract")),
        (("--template", "rpc", "--contract", ORDERS), (2, "--contract is for --template client")),
        (("--template", "batch"), (2, "'batch' is not one of")),
        (("--contract", "-"), (2, "--contract needs a file")),
        (("--contract", "none.json"), (2, "none.json: cannot read the manifest: no such file")),
        (("--contract", "jobs.json"), (2, "jobs.json: things-service@v1 has no RPC to call")),
        (("--contract", "app.json"), (2, "app.json: things-service@v1 is the contract of the app")),
        (("--contract", "bad.json"), (3, 'no schema named "None"')),
    ],
)
def test_a_contract_that_a_client_cannot_begin_with_is_refused(
    tmp_path: Path, arguments: tuple[object, ...], expected: tuple[int, str]
) -> None:
    reference: JsonValue = {"schema": "None"}
    write_manifest(tmp_path / "jobs.json")
    write_manifest(tmp_path / "app.json", kind="app")
    write_manifest(tmp_path / "bad.json", rpc={"A.B": rpc("A.B", input=reference, output=reference)})

    ended = run_generator("init", "mailing", *arguments, folder=tmp_path)

    assert ended.exit_code == expected[0]
    assert expected[1] in ended.stderr
    assert not (tmp_path / "mailing").exists()


# --- what is asked ------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    @override
    def isatty(self) -> bool:
        return True


def answer(folder: Path, text: str, *arguments: str) -> tuple[int, str]:
    """Run `init` on a terminal with some answers; return the exit code and what the terminal shows."""
    shown = Terminal()
    with (
        contextlib.chdir(folder),
        mock.patch.object(sys, "stdin", Terminal(text)),
        mock.patch.object(sys, "stderr", shown),
    ):
        return run_command(["init", *arguments]), shown.getvalue()


def test_on_a_terminal_it_asks_for_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = answer(tmp_path, "My Mailing\nmailing\nbatch\nrpc\n", "--dry-run")

    assert code == 0
    assert '"My Mailing" is not a valid name' in shown
    assert '"batch" is not a template: choose jobs, rpc, client' in shown
    assert shown.count("Template [jobs]: ") == 2
    assert "write client.py\n" in capsys.readouterr().out

    (tmp_path / "bad.json").write_text("{}")
    code, shown = answer(tmp_path, "none.json\nbad.json\n", "shop", "--template", "client")

    assert code == 3
    assert '"none.json" is not a file: name a manifest' in shown


def test_it_asks_nothing_with_yes_and_ends_at_the_end_of_the_input(tmp_path: Path) -> None:
    assert answer(tmp_path, "", "mailing", "--yes", "--template", "client")[0] == 2
    with pytest.raises(KeyboardInterrupt):
        answer(tmp_path, "")
