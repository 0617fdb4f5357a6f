"""What is to be generated, and where: from the command line, from pyproject.toml, or from both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["Choices", "Target", "chosen_targets"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One contract and its package."""

    manifest: Path
    out: Path = Path()
    package: str | None = None
    """None: the contract's id decides."""
    strict: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """What the command line says; None where it says nothing."""

    manifest: Path | None = None
    out: Path | None = None
    package: str | None = None
    strict: bool | None = None


def chosen_targets(choices: Choices, configured: tuple[Target, ...]) -> tuple[Target, ...]:
    """Return the targets of a run: the command line wins over the configuration.

    A manifest that is named on the command line takes its other settings from the configuration if it is there too.
    """
    if choices.manifest is None:
        targets = configured
    else:
        place = choices.manifest.resolve()
        same = [each for each in configured if each.manifest.resolve() == place]
        targets = tuple(replace(each, manifest=choices.manifest) for each in same)
        targets = targets or (Target(manifest=choices.manifest),)
    return tuple(_overruled(target, choices) for target in targets)


def _overruled(target: Target, choices: Choices) -> Target:
    return replace(
        target,
        out=target.out if choices.out is None else choices.out,
        package=target.package if choices.package is None else choices.package,
        strict=target.strict if choices.strict is None else choices.strict,
    )
