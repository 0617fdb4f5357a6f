"""Loads what an audit is made with: a generated package, or a bare manifest, from which `trellis-gen` generates one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from trellis_nats import Service
from trellis_nats.ids import new_id

from trellis_admin.packages import UnreadablePackage, load_service

__all__ = ["InvalidManifest", "is_manifest", "open_contract"]

_INVALID: Final = 3
"""The exit code of `trellis-gen` for a contract with errors."""


class InvalidManifest(Exception):
    """The generator refuses a manifest. The text is the generator's report."""


def is_manifest(given: str) -> bool:
    """Return whether a path is a manifest, from which a package must be generated."""
    path = Path(given)
    return path.is_file() and not (path.parent / "__init__.py").is_file()


@contextmanager
def open_contract(given: str, others: Sequence[str] = ()) -> Generator[type[Service]]:
    """Provide the service class of a generated package, or of one that is generated from a manifest for this purpose.

    The manifest is read by the generator alone, in a process of its own: its limits apply.

    Args:
        given: a generated package, as `load_service` takes it, or a manifest.
        others: where the contracts are that a manifest uses, as `trellis-gen facade --with` takes them.

    Raises:
        UnreadablePackage: there is no such file or package, or a manifest is given and trellis-codegen is not installed.
        InvalidManifest: the manifest has errors.
    """
    if not is_manifest(given):
        yield load_service(given)
        return
    if find_spec("trellis_codegen") is None:
        raise UnreadablePackage(
            f"{given} is a manifest, from which a package must be generated: install the generator with "
            'pip install "trellis-admin[manifests]", or pass a generated package'
        )
    with tempfile.TemporaryDirectory(prefix="trellis-audit-") as folder:
        name = f"audited_{new_id().lower()}"  # never the name of a package that is imported already
        _generate(Path(given), Path(folder), name, others)
        yield load_service(str(Path(folder) / name))


def _generate(manifest: Path, folder: Path, name: str, others: Sequence[str]) -> None:
    options = [part for other in others for part in ("--with", other)]
    command = [sys.executable, "-m", "trellis_codegen", "facade", str(manifest), "--out", str(folder)]
    ended = subprocess.run(  # noqa: S603 - the generator of this environment, without a shell
        [*command, "--package", name, "--quiet", *options], capture_output=True, text=True, check=False
    )
    report = (ended.stderr + ended.stdout).strip()
    if ended.returncode == _INVALID:
        raise InvalidManifest(report)
    if ended.returncode:
        raise UnreadablePackage(f"{manifest} cannot be generated: {report}")
