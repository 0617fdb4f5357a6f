"""What a run with nothing to do must notice: each of these makes it generate again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.generator import run_generator
from tests.unit.codegen.contracts import contract, job
from trellis_codegen.cli import building, generation
from trellis_codegen.output import generator_id
from trellis_codegen.problems import ProblemsFound

PROJECT = """
[tool.trellis-gen]
with = ["other.json"]
[[tool.trellis-gen.contracts]]
manifest = "x.json"
"""


def write_manifest(folder: Path, **changes: object) -> None:
    uses = {"required": {"other": {"contract": "other@v1", "rpc": {"call": ["Ask"]}}}}
    document = {**contract(), "jobs": {"keep": job()}, "uses": uses, "future": 1, **changes}
    (folder / "x.json").write_text(json.dumps(document))


def write_other(folder: Path, summary: str) -> None:
    asked = {
        "version": "v1",
        "subject": "rpc.v1.Ask",
        "input": {"schema": "Thing"},
        "output": {"schema": "Thing"},
        "docs": {"summary": summary, "markdown": summary},
    }
    document = {**contract(), "id": "other@v1", "rpc": {"Ask": asked}}
    (folder / "other.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(PROJECT)
    write_manifest(folder)
    write_other(folder, "Ask.")
    ended = run_generator("facade", folder=folder)
    assert ended.exit_code == 0, ended.stderr
    return folder


@pytest.fixture
def project(generated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(generated, tmp_path / "project"))


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Collects the manifests that are generated again; nothing is."""
    found: list[bytes] = []

    def build(data: bytes, *_: object, **__: object) -> None:
        found.append(data)
        raise ProblemsFound([])

    monkeypatch.setattr(building, "build_package", build)
    return found


@pytest.mark.parametrize("flags", [[], ["--check"], ["--dry-run"]])
def test_nothing_is_generated_again_when_nothing_changed(
    project: Path, builds: list[bytes], flags: list[str]
) -> None:
    ended = run_generator("facade", *flags, folder=project)

    assert (ended.exit_code, builds) == (0, [])
    assert "warning[unknown-field]: future" in ended.stderr


def reformat(project: Path) -> None:
    path = project / "x.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4))


def test_white_space_of_the_manifest_is_nothing_new(project: Path, builds: list[bytes]) -> None:
    reformat(project)

    assert (run_generator("facade", folder=project).exit_code, builds) == (0, [])


def edit(project: Path) -> None:
    path = project / "things_participant" / "jobs.py"
    path.write_text(path.read_text() + "# mine\n")


CHANGES: dict[str, Callable[[Path], object]] = {
    "an edited file": edit,
    "a missing file": lambda project: (project / "things_participant" / "jobs.py").unlink(),
    "a missing empty file": lambda project: (project / "things_participant" / "py.typed").unlink(),
    "a missing index": lambda project: (project / "things_participant" / ".trellis-gen.json").unlink(),
    "another manifest": lambda project: write_manifest(project, description="Another."),
    "another used contract": lambda project: write_other(project, "Ask again."),
    "a stated name": lambda project: (project / "pyproject.toml").write_text(
        f'{PROJECT}[tool.trellis-gen.names]\n"/jobs/keep" = "hold"\n'
    ),
    "another package": lambda project: (project / "pyproject.toml").write_text(
        f'{PROJECT}package = "others"\n'
    ),
    "a strict run": lambda project: (project / "pyproject.toml").write_text(f"{PROJECT}strict = true\n"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_project_is_generated_again(
    project: Path, builds: list[bytes], change: Callable[[Path], object]
) -> None:
    change(project)

    run_generator("facade", "--check", folder=project)

    assert builds == [(project / "x.json").read_bytes()]


def test_another_version_of_the_generator_generates_again(
    project: Path, builds: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "__version__", "9.9.9")

    run_generator("facade", "--check", folder=project)

    assert len(builds) == 1


def test_a_changed_template_generates_again(
    project: Path, builds: list[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (templates,) = (folder for folder in generator_id.TEMPLATES if folder.is_dir())
    changed = Path(shutil.copytree(templates, tmp_path / "templates"))
    with (changed / "jobs.py.j2").open("a") as template:
        template.write("# another end\n")
    monkeypatch.setattr(generator_id, "TEMPLATES", (changed,))

    run_generator("facade", "--check", folder=project)

    assert len(builds) == 1


@pytest.mark.parametrize("name", ["black", "datamodel_code_generator"])
def test_another_version_of_what_decides_the_output_generates_again(
    project: Path, builds: list[bytes], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    versions = [*generator_id.find_versions()]
    (own,) = (version for version in versions if version.startswith(f"{name}-"))

    def find_versions() -> list[str]:
        return [f"{name}-0.1.dist-info" if version == own else version for version in versions]

    monkeypatch.setattr(generator_id, "find_versions", find_versions)

    run_generator("facade", "--check", folder=project)

    assert len(builds) == 1
