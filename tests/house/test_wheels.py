"""The built wheels, in an environment that holds nothing else."""

import json
import re
import subprocess
import sys
from email import message_from_bytes
from pathlib import Path
from tarfile import TarFile
from zipfile import ZipFile

import pytest

from tests.support.build_once import build_once

ROOT = Path(__file__).parents[2]
GENERATOR_ONLY = {"jinja2", "black", "typer", "datamodel-code-generator", "trellis-codegen"}

pytestmark = pytest.mark.timeout(400)


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(python: Path) -> set[str]:
    names = "from importlib.metadata import distributions as d; print(*(each.name.lower() for each in d()))"
    return set(run(python, "-c", names).split())


def pip(python: Path, *arguments: str | Path) -> str:
    """Let the pip of this environment work on another one, which needs none of its own then."""
    return run(sys.executable, "-m", "pip", "--python", python, *arguments)


def make_environment(folder: Path) -> Path:
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    return folder / "bin/python"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    return build_once(tmp_path_factory, worker_id, "wheels", build_distributions)


@pytest.fixture(scope="module")
def wheels(built: Path) -> dict[str, Path]:
    return {path.name.partition("-")[0]: path for path in built.glob("*.whl")}


def build_distributions(out: Path) -> None:
    """Build each sdist, and each wheel from its sdist."""
    for source in (".", "runtime", "admin"):
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source)


def install(python: Path, *installing: Path) -> None:
    # Compiling what is imported once, if at all, would take most of the time.
    pip(python, "install", "-qq", "--no-compile", "--constraint", ROOT / "constraints/dev.txt", *installing)


def test_the_wheels_work_in_an_empty_environment(wheels: dict[str, Path], tmp_path: Path) -> None:
    """The runtime brings nothing of the generator, nor does the command for operators; the generator brings its templates."""
    python = make_environment(tmp_path / "venv")

    install(python, wheels["trellis_nats"])
    with_runtime = installed(python)
    install(python, wheels["trellis_admin"])
    with_command = installed(python)
    planning = run(tmp_path / "venv/bin/trellis", "provision", "plan", "--help")
    auditing = run(tmp_path / "venv/bin/trellis", "audit", "--help")
    install(python, wheels["trellis_codegen"])
    contracts = ROOT / "contracts"
    manifest = contracts / "orders_service.manifest.json"
    run(tmp_path / "venv/bin/trellis-gen", "facade", manifest, "--with", contracts, cwd=tmp_path)
    queue = run(
        python,
        "-c",
        "from orders_participant.jobs import ReserveInventoryQueue as Q; print(Q.spec.name)",
        cwd=tmp_path,
    )

    assert with_runtime & GENERATOR_ONLY == set()
    assert {"trellis-nats", "nats-py", "pydantic"} <= with_runtime
    assert queue.strip() == "reserve-inventory"
    assert with_command & (GENERATOR_ONLY - {"typer"}) == set()
    assert "PACKAGE" in planning
    assert "CONTRACT" in auditing


def test_the_page_of_a_distribution_on_an_index_is_complete(wheels: dict[str, Path]) -> None:
    """An index shows the description without the files next to it, so a relative link of it would lead nowhere."""
    for wheel in wheels.values():
        with ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
            metadata = message_from_bytes(archive.read(name))
        text = str(metadata.get_payload())

        assert text.startswith(f"# {metadata['Name']}\n")
        assert re.findall(r"\]\((?!https:)", text) == []
        for extra in metadata.get_all("Provides-Extra", []):
            assert f"| `{metadata['Name']}[{extra}]` |" in text
        assert metadata["Author"] == "Trellis for Python"
        assert metadata["License-Expression"] == "Apache-2.0"


def test_a_service_may_have_any_black(wheels: dict[str, Path]) -> None:
    """What a service installs pins nothing of what the generator pins."""
    found = run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--ignore-installed",
        "--quiet",
        "--report",
        "-",
        wheels["trellis_nats"],
        "black==23.1.0",
    )

    chosen = {each["metadata"]["name"]: each["metadata"]["version"] for each in json.loads(found)["install"]}
    assert chosen["black"] == "23.1.0"
    assert "trellis-nats" in chosen


def test_an_sdist_has_its_own_files_only(built: Path) -> None:
    own = {".gitignore", "LICENSE", "PKG-INFO", "pyproject.toml"}  # hatchling always adds .gitignore
    folders = {
        "trellis_admin": own | {"README.md", "trellis_admin"},
        "trellis_codegen": own | {"CHANGELOG.md", "templates", "trellis_codegen"},
        "trellis_nats": own | {"README.md", "trellis_nats"},
    }

    found: dict[str, set[str]] = {}
    for sdist in built.glob("*.tar.gz"):
        with TarFile.open(sdist) as archive:
            names = archive.getnames()
        found[sdist.name.partition("-")[0]] = {name.split("/")[1] for name in names}
        assert [name for name in names if name.endswith(".pyc")] == []

    assert found == folders


def test_all_wheels_carry_their_licence_and_their_types(wheels: dict[str, Path]) -> None:
    names = {name: ZipFile(wheel).namelist() for name, wheel in wheels.items()}

    for listed in names.values():
        assert any(name.endswith("/LICENSE") for name in listed)
        assert any(name.endswith("/METADATA") for name in listed)
    assert "trellis_codegen/templates/init/jobs/main.py.j2" in names["trellis_codegen"]
    assert "trellis_admin/py.typed" in names["trellis_admin"]
    assert "trellis_nats/py.typed" in names["trellis_nats"]
