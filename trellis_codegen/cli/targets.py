"""The packages of a run and their folders: from the command line, from pyproject.toml, or from both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["Choices", "OtherSource", "Target", "choose_targets", "shorten_path"]


class OtherSource(NamedTuple):
    """A place that may have contracts which are used: a manifest, a folder or an installed package."""

    text: str
    """As the user wrote it."""
    folder: Path = Path()
    """The folder that a path is relative to."""


class Target(NamedTuple):
    """One contract and its package."""

    manifest: Path
    out: Path = Path()
    """The folder that gets the package."""
    package: str | None = None
    """The package's name; None: from the contract's id."""
    strict: bool = False
    """Whether fields that the format does not have are errors."""
    names: Mapping[str, str] = MappingProxyType({})
    """Python names that the project states, by the place in a contract."""
    others: tuple[OtherSource, ...] = ()
    """Where the contracts are that this one uses."""


class Choices(NamedTuple):
    """The settings on the command line; None for those that it does not give."""

    manifest: Path | None = None
    out: Path | None = None
    package: str | None = None
    strict: bool | None = None
    others: tuple[OtherSource, ...] = ()
    """In addition to those of the configuration."""


def choose_targets(choices: Choices, configured: tuple[Target, ...]) -> tuple[Target, ...]:
    """Return the targets of a run: the command line wins over the configuration.

    A manifest on the command line takes its other settings from the configuration, if the configuration has it too.
    """
    if choices.manifest is None:
        targets = configured
    else:
        named = choices.manifest.resolve()
        same = [target for target in configured if target.manifest.resolve() == named]
        targets = tuple(target._replace(manifest=choices.manifest) for target in same)
        targets = targets or (Target(manifest=choices.manifest),)
    return tuple(_override(target, choices) for target in targets)


def shorten_path(path: Path) -> Path:
    """Return a path as messages show it: relative to the current folder if it is below, else as it was given."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path


def _override(target: Target, choices: Choices) -> Target:
    return target._replace(
        manifest=shorten_path(target.manifest),
        out=shorten_path(target.out if choices.out is None else choices.out),
        package=target.package if choices.package is None else choices.package,
        strict=target.strict if choices.strict is None else choices.strict,
        others=(*choices.others, *target.others),
    )
