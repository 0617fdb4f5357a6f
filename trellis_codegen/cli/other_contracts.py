"""Finds the contracts that a contract may use: manifests, folders of manifests, and installed packages.

Finding reads only the ids, so that a run with nothing to do stays fast. A contract is validated when one is generated that uses it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from trellis_codegen import naming
from trellis_codegen.cli.findings import Findings
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.cli.targets import OtherSource, shorten_path
from trellis_codegen.contract.fingerprint import ManifestSummary, summarize_manifest
from trellis_codegen.contract.limits import MAX_SIZE_BYTES
from trellis_codegen.problems import ProblemsFound

if TYPE_CHECKING:
    from trellis_codegen.contract.uses import OtherContracts

__all__ = ["OtherFiles", "find_other_files", "list_other_paths", "read_other_contracts"]

_IN_PACKAGE = "contract.json"


class OtherFile(NamedTuple):
    """The manifest of a contract that others may use."""

    path: Path
    data: bytes
    summary: ManifestSummary


class OtherFiles(NamedTuple):
    """The manifests that were found, by the id of their contract."""

    by_id: Mapping[str, OtherFile] = MappingProxyType({})
    rivals: Mapping[str, OtherFile] = MappingProxyType({})
    """By the id of a contract, a second manifest of it that differs."""
    places: tuple[str, ...] = ()
    """Every place that was searched, as the user named it."""

    def fingerprints(self, ids: Iterable[str]) -> dict[str, str]:
        """Return the fingerprint of each of some contracts, as far as it was found and is the only one."""
        return {
            contract_id: self.by_id[contract_id].summary.fingerprint
            for contract_id in ids
            if contract_id in self.by_id and contract_id not in self.rivals
        }


def find_other_files(sources: Iterable[OtherSource], reporter: Reporter) -> OtherFiles | None:
    """Return the manifests at some places; None if a place cannot be read, which is reported."""
    found: dict[str, OtherFile] = {}
    rivals: dict[str, OtherFile] = {}
    places: list[str] = []
    has_failed = False
    for source in sources:
        places.append(source.text)
        try:
            files = [*_read_place(source)]
        except _PlaceRefusedError as refusal:
            reporter.report_refusal(str(refusal))
            has_failed = True
            continue
        for file in files:
            contract_id = file.summary.contract_id
            other = found.setdefault(contract_id, file)
            if other.summary.fingerprint != file.summary.fingerprint:
                rivals[contract_id] = file
    if has_failed:
        return None
    return OtherFiles(by_id=found, rivals=rivals, places=tuple(dict.fromkeys(places)))


def list_other_paths(sources: Iterable[OtherSource]) -> list[Path]:
    """Return the files at some places, whether or not they have a contract."""
    return [path for source in sources for path in _list_place(source)]


def read_other_contracts(files: OtherFiles, ids: Iterable[str], reporter: Reporter) -> OtherContracts | None:
    """Return those of some contracts that were found; None if one has errors or two manifests, which is reported."""
    from trellis_codegen.contract.reading import read_manifest  # noqa: PLC0415 - heavy, and needed only if there is work
    from trellis_codegen.contract.uses import OtherContract, OtherContracts  # noqa: PLC0415 - likewise

    contracts: dict[str, OtherContract] = {}
    has_failed = False
    for contract_id in ids:
        file = files.by_id.get(contract_id)
        if file is None:
            continue
        if contract_id in files.rivals:
            rival = files.rivals[contract_id]
            reporter.report_refusal(
                f"{file.path} and {rival.path} are different manifests of {contract_id}; name one of them"
            )
            has_failed = True
            continue
        try:
            manifest = read_manifest(file.data).manifest
        except ProblemsFound as error:
            text = file.data.decode("utf-8", "replace")
            findings = Findings(file=file.path.as_posix(), text=text, problems=error.problems)
            reporter.report_problems(findings)
            has_failed = True
            continue
        contracts[contract_id] = OtherContract(manifest=manifest, file=file.path.as_posix())
    if has_failed:
        return None
    return OtherContracts(by_id=contracts, known_ids=tuple(files.by_id), places=files.places)


class _PlaceRefusedError(Exception):
    """A place has no manifest that can be read."""


def _read_place(source: OtherSource) -> Iterator[OtherFile]:
    is_folder = (source.folder / source.text).is_dir()
    for path in _list_place(source):
        file = _read_file(path)
        if file is not None:
            yield file
        elif not is_folder:
            raise _PlaceRefusedError(f'{path}: not a contract: "trellis-gen validate" says why')


def _list_place(source: OtherSource) -> list[Path]:
    path = shorten_path(source.folder / source.text)
    if path.is_dir():
        return sorted(path.glob("*.json"))
    return [path if path.exists() else _find_installed(source.text) or path]


def _read_file(path: Path) -> OtherFile | None:
    """Return a manifest; None if the file is none.

    Raises:
        _PlaceRefusedError: it cannot be read.
    """
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_SIZE_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _PlaceRefusedError(
            f"{path}: cannot read the contract: {reason}; name a manifest, a folder, or a package that is installed "
            "next to trellis-gen"
        ) from None
    summary = summarize_manifest(data)
    return None if summary is None else OtherFile(path=path, data=data, summary=summary)


def _find_installed(name: str) -> Path | None:
    """Return the manifest inside an installed package, without importing the package."""
    if os.sep in name or naming.attribute(name) != name:
        return None
    spec = importlib.util.find_spec(name)
    folders = (spec.submodule_search_locations if spec else None) or ()
    manifests = (Path(folder) / _IN_PACKAGE for folder in folders)
    return next((shorten_path(path) for path in manifests if path.is_file()), None)
