"""The rules of capabilities: every capability that a surface demands of its callers is declared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Protocol, cast

from pydantic import BaseModel

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.problems import Pointer, Problem, Severity, did_you_mean
from trellis_codegen.rule_ids import Rule

__all__ = ["check_capabilities", "check_capability_names"]

_BUILT_IN = frozenset(["admin", "service"])
"""Capabilities that the platform declares."""


class _Guarded(Protocol):
    @property
    def capabilities(self) -> BaseModel | None: ...


def check_capabilities(manifest: Manifest) -> Iterator[Problem]:
    """Every demanded capability is declared, built in, or another contract's.

    In `orders::read`, the capability belongs to the contract `orders`. A name without `::` belongs to this contract.
    """
    namespace = _get_namespace(manifest)
    declared = manifest.capabilities or {}
    known = {*declared, *(name.removeprefix(namespace) for name in declared), *_BUILT_IN}
    for pointer, name in _find_demands(manifest):
        if name in known or ("::" in name and not name.startswith(namespace)):
            continue
        what = f'no capability named "{name}"'
        yield Problem(
            pointer=pointer,
            rule=Rule.UNKNOWN_CAPABILITY,
            what=what,
            hint=did_you_mean(name, known) or _declare(name.removeprefix(namespace)),
        )


def _declare(name: str) -> str:
    entry = f'"capabilities": {{{json.dumps(name)}: {{"displayName": "…", "description": "…"}}}}'
    return f"declare it at the top of the contract: {entry}"


def check_capability_names(manifest: Manifest) -> Iterator[Problem]:
    """A local name does not repeat the contract's: `orders.read` of `orders@v1` would be `orders::orders.read`."""
    namespace = manifest.id.partition("@")[0]
    for name in manifest.capabilities or {}:
        if "::" not in name and name.startswith(f"{namespace}."):
            what = f'"{name}" repeats the name of its contract'
            hint = f'call it "{name.removeprefix(f"{namespace}.")}"'
            pointer = ("capabilities", name)
            yield Problem(
                pointer=pointer,
                rule=Rule.REPEATED_NAMESPACE,
                what=what,
                hint=hint,
                on_key=True,
                severity=Severity.WARNING,
            )


def _find_demands(manifest: Manifest) -> Iterator[tuple[Pointer, str]]:
    sections: dict[str, Mapping[str, _Guarded] | None] = {
        "rpc": manifest.rpc,
        "operations": manifest.operations,
        "events": manifest.events,
        "feeds": manifest.feeds,
    }
    for section, entries in sections.items():
        for name, entry in (entries or {}).items():
            roles = entry.capabilities.model_dump(exclude_unset=True) if entry.capabilities else {}
            for role, names in cast("dict[str, list[str]]", roles).items():
                for index, each in enumerate(names):
                    yield (section, name, "capabilities", role, index), each


def _get_namespace(manifest: Manifest) -> str:
    return f"{manifest.id.partition('@')[0]}::"
