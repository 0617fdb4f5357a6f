"""Every real manifest becomes a complete package, with what it uses: it imports, and its service starts.

tests/typecheck gives the packages to the type checkers.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from trellis_nats import Client, Service
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.real_manifests import MANIFESTS, NAMES, build_real_packages

pytestmark = [
    pytest.mark.skipif(not MANIFESTS.is_dir(), reason="shared/conformance is not next to the repository"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    return build_real_packages(tmp_path_factory, worker_id)


def import_package(packages: Path, manifest: str) -> ModuleType:
    """Import the package of a manifest, which another worker may have written."""
    name = json.loads((packages / "written.json").read_text())[manifest][0]
    if name not in sys.modules:
        sys.path.insert(0, str(packages))
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove(str(packages))
    return sys.modules[name]


def find_participant(package: ModuleType, base: type[Service | Client]) -> type[Service | Client]:
    """Return the service or the client of a package."""
    found = [value for value in vars(package).values() if isinstance(value, type) and issubclass(value, base)]
    assert len(found) == 1
    return found[0]


def find_handled(value: object, package: str) -> Iterator[object]:
    """Yield everything below a service that takes a handler."""
    for member in vars(value).values():
        if hasattr(member, "handle"):
            yield member
        elif type(member).__module__.startswith(package):
            yield from find_handled(member, package)


async def answer(*_: object) -> None:
    """Stand in for a handler."""


async def send(*_: object) -> AsyncIterator[object]:
    """Stand in for the handler of a feed."""
    events: tuple[object, ...] = ()
    for event in events:
        yield event


async def is_ready(service: Service) -> bool:
    return (await service.health.report()).ready


def test_there_are_twelve() -> None:
    assert len(NAMES) == 12


def test_every_package_is_complete(packages: Path) -> None:
    written: dict[str, tuple[str, list[str]]] = json.loads((packages / "written.json").read_text())

    found = [remark for _, remarks in written.values() for remark in remarks]
    assert found == []


@pytest.mark.parametrize("manifest", NAMES)
async def test_the_participant_starts_on_a_bare_server(
    packages: Path, manifest: str, nats_server: NatsServer
) -> None:
    package = import_package(packages, manifest)
    kind = json.loads((MANIFESTS / manifest).read_text())["kind"]
    if kind != "service":
        client = find_participant(package, Client)
        async with client.connect(nats_server.url):
            return
    service_class = find_participant(package, Service)
    assert issubclass(service_class, Service)
    async with service_class.connect(nats_server.url) as service:
        for handled in find_handled(service, package.__name__):
            stub = send if type(handled).__name__ == "FeedEndpoint" else answer
            handled.handle(stub)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - each has it
        await service.start()
        await eventually(lambda: is_ready(service))


def test_no_name_has_a_number_that_tells_it_apart(packages: Path) -> None:
    written = [
        name
        for path in packages.rglob("models/*.py")
        for name in re.findall(r"^class (\w+)|^    (\w+):", path.read_text(), flags=re.MULTILINE)
    ]
    contracts = "".join(path.read_text() for path in MANIFESTS.glob("*.json"))
    numbers = {match for pair in written for name in pair for match in re.findall(r"[A-Za-z]+_?\d+$", name)}

    assert {each for each in numbers if each.lower() not in contracts.lower()} == set()
