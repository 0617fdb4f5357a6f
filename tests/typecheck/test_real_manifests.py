"""Every real manifest becomes a package that imports, keeps its values, and is clean under both type checkers."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import JsonValue
from pydantic_core import SchemaError

from tests.support.build_once import build_once
from tests.support.generated import adapter, generated
from trellis_codegen.problems import Severity

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT.parent / "shared" / "conformance" / "manifests"

pytestmark = [
    pytest.mark.skipif(not MANIFESTS.is_dir(), reason="shared/conformance is not next to the repository"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    return build_once(tmp_path_factory, worker_id, "real_manifests", generate_packages)


def generate_packages(folder: Path) -> None:
    """Write a package for each real manifest, import it, and build every model."""
    for path in sorted(MANIFESTS.glob("*.json")):
        document: dict[str, JsonValue] = json.loads(path.read_text())
        package, remarks = generated(document, folder)
        assert [each for each in remarks if each.severity is Severity.ERROR] == []
        assert [each.what for each in remarks if "not enforced" in each.what] == []
        schemas = document.get("schemas", {})
        for name in schemas if isinstance(schemas, dict) else ():
            try:
                adapter(package, name).rebuild()
            except SchemaError as error:
                pytest.fail(f"{path.name}: {name}: {error}")


def test_no_name_has_a_number_that_tells_it_apart(packages: Path) -> None:
    written = [
        name
        for path in packages.rglob("models/*.py")
        for name in re.findall(r"^class (\w+)|^    (\w+):", path.read_text(), flags=re.MULTILINE)
    ]
    contracts = "".join(path.read_text() for path in MANIFESTS.glob("*.json"))
    numbers = {match for pair in written for name in pair for match in re.findall(r"[A-Za-z]+_?\d+$", name)}

    assert {each for each in numbers if each.lower() not in contracts.lower()} == set()


def test_pyright_strict_has_nothing_to_say(packages: Path) -> None:
    settings = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "include": ["."],
        "extraPaths": [str(ROOT / "runtime")],
    }
    (packages / "pyrightconfig.json").write_text(json.dumps(settings))

    ended = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "--outputjson", "-p", "."],
        cwd=packages,
        capture_output=True,
        text=True,
        check=False,
    )

    assert json.loads(ended.stdout)["generalDiagnostics"] == []


def test_mypy_strict_has_nothing_to_say(packages: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--cache-dir", "/dev/null", "."],
        cwd=packages,
        env={"MYPYPATH": str(ROOT / "runtime")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.stdout.startswith("Success"), ended.stdout
