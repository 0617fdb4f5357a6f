"""Finds the import that a name of generated code needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["HOMES", "Import", "ImportGroups", "find_imports", "group_imports"]

_RUNTIME = "trellis_nats"
_JSON_TYPES = "trellis_nats.json_types"

HOMES = {
    "Annotated": "typing",
    "AwareDatetime": _JSON_TYPES,
    "AwareTime": _JSON_TYPES,
    "ClassVar": "typing",
    "Exact": _JSON_TYPES,
    "ExactDate": _JSON_TYPES,
    "ExactUUID": _JSON_TYPES,
    "Field": "pydantic",
    "Final": "typing",
    "Integer": _JSON_TYPES,
    "JsonValue": _JSON_TYPES,
    "Literal": "typing",
    "NotNull": _JSON_TYPES,
    "Number": _JSON_TYPES,
    "OneOf": _JSON_TYPES,
    "StringConstraints": "pydantic",
    "TYPE_CHECKING": "typing",
    "TypeAlias": "typing",
    "TypeAliasType": "typing_extensions",
    "cast": "typing",
    "timedelta": "datetime",
    **dict.fromkeys(
        """
        ActiveJob ActiveOperation ActiveUpload Bucket BucketSpec Client ConsumerGroup Contract DeclaredError DownloadCall
        DownloadEndpoint DownloadSpec EventChannel EventOutlet EventPublisher EventSource EventSpec FeedCall FeedEndpoint FeedSpec GroupEvent
        GroupSpec JobQueue JobSpec Jobs KeySpec Model OldStateEntry OperationCall OperationCapabilities OperationEndpoint OperationRun
        OperationSignal OperationSpec RpcCall RpcEndpoint RpcSpec Runtime Service SignalCall StateMap StateSpec StateValue
        Store StoreSpec UploadCall UploadEndpoint UploadSpec
        """.split(),  # noqa: SIM905 - a long word list reads better this way
        _RUNTIME,
    ),
}
"""Every name that generated code takes from outside its package, and the module that has it."""
_STANDARD_LIBRARY = frozenset(["datetime", "typing"])


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Import:
    """One name that a file takes from a module."""

    module: str
    name: str
    alias: str | None = None
    """What the file calls it, if that differs."""


_ALIASED = {"_Never": Import(module="typing", name="Never", alias="_Never")}
"""Names that a schema may have too, so that a file imports them under another one."""

ImportGroups: TypeAlias = tuple[tuple[str, ...], ...]
"""Import statements: the standard library, other distributions, the package itself; only groups that have some."""


def find_imports(names: Iterable[str]) -> list[Import]:
    """Return the imports that names need from outside the package; built-in names and those of the package need none."""
    return [
        _ALIASED.get(name) or Import(module=HOMES[name], name=name)
        for name in names
        if name in HOMES or name in _ALIASED
    ]


def group_imports(imports: Iterable[Import]) -> ImportGroups:
    """Return the statements for some imports, sorted as isort and ruff sort them."""
    modules: dict[str, set[Import]] = {}
    for needed in imports:
        modules.setdefault(needed.module, set()).add(needed)
    groups: list[list[str]] = [[], [], []]
    for module in sorted(modules, key=_module_order):
        group = 0 if module in _STANDARD_LIBRARY else 2 if module.startswith(".") else 1
        groups[group] += _statements(module, modules[module])
    return tuple(tuple(group) for group in groups if group)


def _statements(module: str, imports: set[Import]) -> list[str]:
    """Return one statement for plain names, and one for each name with an alias, as isort does."""
    plain = sorted((needed.name for needed in imports if needed.alias is None), key=_name_order)
    renamed = sorted(entry for entry in imports if entry.alias is not None)
    statements = [f"from {module} import {', '.join(plain)}"] if plain else []
    return statements + [f"from {module} import {entry.name} as {entry.alias}" for entry in renamed]


def _module_order(module: str) -> tuple[int, str]:
    """Sort modules of the package that are further away first."""
    dots = len(module) - len(module.lstrip("."))
    return (-dots, module)


def _name_order(name: str) -> tuple[int, str, str]:
    """Sort constants before classes before functions."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name.lower(), name)
