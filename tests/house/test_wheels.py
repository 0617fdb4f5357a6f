"""The built wheels, in an environment that holds nothing else."""

import json
import subprocess
import sys
from pathlib import Path

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
    listed = json.loads(run(python, "-m", "pip", "list", "--format", "json"))
    return {each["name"].lower() for each in listed}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> dict[str, Path]:
    out = build_once(tmp_path_factory, worker_id, "wheels", build_wheels)
    return {path.name.partition("-")[0]: path for path in out.glob("*.whl")}


def build_wheels(out: Path) -> None:
    for source in (".", "runtime", "admin"):
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source)


def install(python: Path, wheel: Path) -> None:
    run(python, "-m", "pip", "install", "-qq", "--constraint", ROOT / "constraints/dev.txt", wheel)


def test_the_wheels_work_in_an_empty_environment(wheels: dict[str, Path], tmp_path: Path) -> None:
    """The runtime alone brings nothing of the generator; the generator brings its templates."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"

    install(python, wheels["trellis_nats"])
    with_runtime = installed(python)
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


def test_the_command_for_operators_works_without_the_generator(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"

    install(python, wheels["trellis_nats"])
    install(python, wheels["trellis_admin"])

    assert installed(python) & (GENERATOR_ONLY - {"typer"}) == set()
    assert "MANIFEST" in run(tmp_path / "venv/bin/trellis", "provision", "plan", "--help")


def test_all_wheels_carry_their_licence_and_their_types(wheels: dict[str, Path]) -> None:
    for wheel in wheels.values():
        names = run(sys.executable, "-m", "zipfile", "-l", wheel)

        assert "LICENSE" in names
        assert "METADATA" in names
    assert "trellis_admin/py.typed" in run(sys.executable, "-m", "zipfile", "-l", wheels["trellis_admin"])
    assert "trellis_nats/py.typed" in run(sys.executable, "-m", "zipfile", "-l", wheels["trellis_nats"])
