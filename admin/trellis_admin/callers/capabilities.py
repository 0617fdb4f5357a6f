"""Which capabilities contracts have, and which of those that a file of callers names do not exist."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, cast

from trellis_admin.packages import UnreadablePackage

__all__ = ["DeclaredCapabilities", "find_project_contracts", "read_declared"]

_BUILT_IN: Final = frozenset(["admin", "service"])
"""Capabilities that contracts demand without declaring them."""
_GUARDED: Final = ("rpc", "operations", "events", "feeds")


@dataclass(frozen=True, slots=True)
class DeclaredCapabilities:
    """The capabilities of some contracts."""

    contracts: tuple[str, ...]
    """Their ids."""
    names: frozenset[str]
    """Those that they declare, and those that they demand."""

    def find_problems(self, capabilities: Iterable[str], *, only_theirs: bool = False) -> list[str]:
        """Return a sentence for each capability that these contracts do not have; without a contract, none.

        With `only_theirs`, only for those with the name of one of these contracts, or of none.
        """
        namespaces = {contract.partition("@")[0] for contract in self.contracts}
        return [
            self._describe(name)
            for name in capabilities
            if self.contracts and name not in self.names | _BUILT_IN
            if not only_theirs or "::" not in name or name.partition("::")[0] in namespaces
        ]

    def list_unknown(self, capabilities: Iterable[str]) -> list[str]:
        """Return those that no contract has, of those that have to be declared."""
        return [name for name in capabilities if name not in self.names | _BUILT_IN]

    def _describe(self, capability: str) -> str:
        of = " and ".join(self.contracts)
        same = [name for name in self.names if name.rpartition("::")[2] == capability]
        near = same or get_close_matches(capability, sorted(self.names), n=1)
        if near:
            hint = f"did you mean {near[0]}?"
        elif self.names:
            hint = f"they are {', '.join(sorted(self.names))}"
        else:
            hint = "it declares none" if len(self.contracts) == 1 else "they declare none"
        return f"{of} has no capability {capability}: {hint}"


def read_declared(contracts: Sequence[str]) -> DeclaredCapabilities:
    """Return what manifests, or generated packages by their folder, declare and demand.

    Raises:
        UnreadablePackage: there is no such file, or it is not a contract.
    """
    ids: list[str] = []
    names: set[str] = set()
    for given in contracts:
        manifest = _read_manifest(Path(given))
        ids.append(manifest["id"])
        try:
            names |= {*(manifest.get("capabilities") or {}), *_demanded(manifest)}
        except (AttributeError, TypeError):
            raise UnreadablePackage(
                f"{given} is not a valid contract: trellis-gen validate says why"
            ) from None
    return DeclaredCapabilities(tuple(ids), frozenset(names))


def find_project_contracts(folder: Path) -> list[str]:
    """Return the manifests that `[tool.trellis-gen]` in the pyproject.toml of a folder names; none where it cannot be read."""
    try:
        project: Any = tomllib.loads((folder / "pyproject.toml").read_text())
        named = [entry["manifest"] for entry in project["tool"]["trellis-gen"]["contracts"]]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    paths = [folder / name for name in named if isinstance(name, str)]
    return [str(path) for path in paths if path.is_file()]


def _read_manifest(path: Path) -> Mapping[str, Any]:  # parsed JSON
    file = path / "contract.json" if path.is_dir() else path
    try:
        value: object = json.loads(file.read_bytes())
    except OSError as error:
        raise UnreadablePackage(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UnreadablePackage(f"{file} is not JSON") from None
    if not isinstance(value, dict) or not isinstance(cast("dict[str, object]", value).get("id"), str):
        raise UnreadablePackage(f"{file} is not a contract: it has no id")
    return cast("Mapping[str, Any]", value)


def _demanded(manifest: Mapping[str, Any]) -> Iterator[str]:
    for section in _GUARDED:
        entries: Mapping[str, Mapping[str, Any]] = manifest.get(section) or {}
        for entry in entries.values():
            capabilities: Mapping[str, list[str]] = entry.get("capabilities") or {}
            for names in capabilities.values():
                yield from names
