"""Two versions of a contract, generated and imported side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import JsonValue
from trellis_nats import Client, Runtime, Service

from tests.support.generated import adapter, generated
from trellis_codegen.breaking.comparison import compare_contracts
from trellis_codegen.breaking.findings import Finding
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.reading import read_manifest
from trellis_codegen.naming import attribute

__all__ = ["Version", "Versions", "find_participant", "has", "member", "runtime_of"]

ParticipantT = TypeVar("ParticipantT", Service, Client)


@dataclass(frozen=True)
class Version:
    """One version: its contract, and the package that is generated from it."""

    document: JsonValue
    package: ModuleType

    @cached_property
    def manifest(self) -> Manifest:
        """The contract."""
        return read_manifest(json.dumps(self.document).encode()).manifest

    @cached_property
    def service(self) -> type[Service]:
        """The generated class of the service, or of the app."""
        return find_participant(self.package, Service)

    @cached_property
    def client(self) -> type[Client]:
        """The generated class of its client; of an app, the app itself."""
        return find_participant(self.package, Client)

    def read(self, schema: str, value: JsonValue) -> Any:  # Any: each schema has its own type
        """Return a value as this version's model, as the code of a user has it."""
        return adapter(self.package, schema).validate_json(json.dumps(value), strict=True)


@dataclass(frozen=True)
class Versions:
    """The old and the new version."""

    old: Version
    new: Version

    @classmethod
    def generate(cls, old: JsonValue, new: JsonValue, folder: Path, *others: JsonValue) -> Versions:
        """Generate both packages; `others` are the contracts that they use."""
        return cls(*(Version(each, generated(each, folder, *others)[0]) for each in (old, new)))

    @property
    def reversed(self) -> Versions:
        """The same versions in a deploy that goes back."""
        return Versions(self.new, self.old)

    @cached_property
    def findings(self) -> list[Finding]:
        """What `trellis-gen breaking` reports."""
        return compare_contracts(self.old.manifest, self.new.manifest)


def find_participant(package: ModuleType, base: type[ParticipantT]) -> type[ParticipantT]:
    """Return the class of the service, or of the client, of a generated package."""
    (found,) = {
        each
        for each in vars(package).values()
        if isinstance(each, type) and issubclass(each, base) and each is not base
    }
    return found


def member(
    root: object, *names: str
) -> Any:  # Any: the members of generated packages have types of their own
    """Return a member of a service or client by its names in the contract."""
    for name in names:
        root = getattr(root, attribute(name))
    return root


def has(root: object, *names: str) -> bool:
    """Return whether a service or client has a member."""
    try:
        member(root, *names)
    except AttributeError:
        return False
    return True


def runtime_of(participant: Service | Client) -> Runtime:
    """Return the runtime of a service or client, which has its connection."""
    runtime: Runtime = vars(participant)["_runtime"]
    return runtime
