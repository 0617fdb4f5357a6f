"""Where contracts come from: a file, a revision of git, the folder of a generated package."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from trellis_codegen.cli.targets import shorten_path
from trellis_codegen.contract.limits import MAX_SIZE_BYTES

__all__ = ["GIT", "Source", "SourceMissing", "SourceRefused", "read_source"]

GIT = "git:"
_CONTRACT = "contract.json"
_MERGE_BASE = re.compile(r"merge-base\(([^(),]+)(?:,([^(),]+))?\)(?::(.*))?", re.DOTALL)


class SourceRefused(Exception):
    """A contract cannot be read; the message says why, and what to do."""


class SourceMissing(Exception):
    """The revision has no such file, so that there is nothing to compare with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The bytes of a contract."""

    name: str
    """As messages show it."""
    path: Path
    """The file in the working tree that it is a version of."""
    data: bytes


def read_source(text: str, *, path: Path | None) -> Source:
    """Return what a source names; `path` is the file that a revision alone is about.

    Raises:
        SourceRefused: it cannot be read.
        SourceMissing: the revision exists, and has no such file.
    """
    if text.startswith(GIT):
        return _read_revision(text.removeprefix(GIT), path)
    file = shorten_path(Path(text))
    if file.is_dir():
        file /= _CONTRACT
    try:
        with file.open("rb") as opened:
            return Source(name=file.as_posix(), path=file, data=opened.read(MAX_SIZE_BYTES + 1))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise SourceRefused(f"{file}: cannot read the contract: {(reason or str(error)).lower()}") from None


def _read_revision(text: str, path: Path | None) -> Source:
    if merge_base := _MERGE_BASE.fullmatch(text):
        one, other, named = merge_base.groups()
        commit = _run_git("merge-base", "--", one.strip(), (other or "HEAD").strip())
        if commit is None:
            raise SourceRefused(f'git knows no common ancestor of "{one}" and "{other or "HEAD"}"{_hint()}')
        revision = text.partition(")")[0] + ")"
    else:
        revision, _, named = text.partition(":")
        commit = _run_git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if commit is None:
            raise SourceRefused(f'git has no revision "{revision}"{_hint()}')
    file = Path(named) if named else path
    if file is None:
        raise SourceRefused(
            f'"{GIT}{text}" names no file; write {GIT}{revision}:path/to/manifest.json, or name the other contract too'
        )
    shown = f"{GIT}{revision}:{file.as_posix()}"
    inner = os.path.relpath(file).replace(os.sep, "/")
    place = f"{commit.decode().strip()}:{inner if inner.startswith('../') else f'./{inner}'}"
    if _run_git("cat-file", "-e", place) is None:
        raise SourceMissing(f"{shown} does not exist, so that there is nothing to compare with")
    data = _run_git("show", place)
    if data is None:
        raise SourceRefused(f"{shown}: git cannot read it")
    return Source(name=shown, path=file, data=data)


def _run_git(*arguments: str) -> bytes | None:
    """Return what git prints; None if it fails.

    Raises:
        SourceRefused: there is no git.
    """
    try:
        ended = subprocess.run(["git", *arguments], capture_output=True, check=False)  # noqa: S603, S607 - git is found as the user finds it; no shell
    except OSError:
        raise SourceRefused('"git" is not installed; compare files instead') from None
    return ended.stdout if ended.returncode == 0 else None


def _hint() -> str:
    if _run_git("rev-parse", "--git-dir") is None:
        return ": this folder is not in a repository: run git init, and commit the contracts"
    if _run_git("rev-parse", "--verify", "--quiet", "HEAD") is None:
        return ": this repository has no commit yet; commit the contracts first"
    shallow = _run_git("rev-parse", "--is-shallow-repository")
    if shallow is not None and shallow.strip() == b"true":
        return "; the checkout is shallow: run git fetch --unshallow origin, or git fetch origin BRANCH --depth 100"
    return "; run git fetch origin, or check its name"
