"""Loads generated packages: their contracts, with the digests that the generator has computed."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Final, TypeVar

from trellis_nats import Client, Options, Runtime, Service

__all__ = ["UnreadablePackage", "load_client", "load_registered", "load_service"]

Loaded = TypeVar("Loaded", Service, Client)

_FILES: Final = frozenset({".json", ".py", ".toml", ".yaml", ".yml"})
"""What a path ends with that names a file. Any other name with dots is that of a module."""


class UnreadablePackage(Exception):
    """What was given is not a generated package of a service."""


def load_service(manifest: str) -> type[Service]:
    """Return the service class of a generated package.

    Args:
        manifest: the folder of the package, its `contract.json`, or its module name.

    Raises:
        UnreadablePackage: there is no such package, it cannot be imported, or it has no service.
    """
    return _load_class(manifest, Service, "service")


def load_client(manifest: str) -> type[Client]:
    """Return the client class of a generated package. Like `load_service`."""
    return _load_class(manifest, Client, "client")


def _load_class(manifest: str, base: type[Loaded], kind: str) -> type[Loaded]:
    path = Path(manifest)
    folder = path.parent if path.is_file() else path
    if folder.is_dir():
        package = _import_folder(folder.resolve(), manifest)
    elif path.suffix in _FILES or "/" in manifest:
        raise UnreadablePackage(f"{manifest} does not exist")
    else:
        package = _import_from(Path.cwd(), manifest, manifest)
    found = [
        value
        for value in vars(package).values()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    ]
    if len(found) != 1:
        raise UnreadablePackage(
            f"{manifest} has no {kind} class: generate the package of a {kind} with trellis-gen facade, and pass its "
            f"folder, its contract.json or its module name{_suggest(manifest)}"
        )
    return found[0]


def load_registered(given: str, service: type[Service] | None, *, is_generated_now: bool = False) -> Service:
    """Return a service on which a program has registered its upcasters.

    Args:
        given: `MODULE:ATTRIBUTE`: a service, or a function that takes one and registers them.
        service: the class of the service that the function gets.
        is_generated_now: whether that class is of a package which no module imports.

    Raises:
        UnreadablePackage: there is no such module or attribute, it is something else, or the function raised or cannot know
            the package.
    """
    module, colon, name = given.partition(":")
    if not (module and colon and name):
        raise UnreadablePackage(
            f"--service {given} must be a module and an attribute of it: orders.jobs:register"
        )
    if module.endswith(".py") or not all(map(str.isidentifier, module.split("."))):
        steps = [step for step in module.removesuffix(".py").split("/") if step not in {"", "."}]
        raise UnreadablePackage(f"--service {given} is a path; pass a module name: {'.'.join(steps)}:{name}")
    imported = _import_from(Path.cwd(), module, module)
    if not hasattr(imported, name):
        raise UnreadablePackage(f"{given}: module {module} has no attribute {name}")
    found: object = getattr(imported, name)
    if isinstance(found, Service):
        return found
    if not callable(found):
        raise UnreadablePackage(f"{given} is neither a service nor a function that takes one")
    if service is None:
        raise UnreadablePackage(
            f"{given} is a function: name the package of the service that it takes, with --against"
        )
    if is_generated_now:
        raise UnreadablePackage(
            f"{given} is a function, whose upcasters return models of a package: pass the generated package that {module} "
            "imports with --against, not a manifest"
        )
    made = service(Runtime(service.contract, Options()))
    try:
        found(made)
    except Exception as error:  # it is the user's function, which may raise anything
        raise UnreadablePackage(f"{given} raised {type(error).__name__}: {error}") from error
    return made


def _suggest(given: str) -> str:
    """Return the package that the generator writes for a project, where it was the project that was named."""
    near = f"{Path(given).name}_participant"
    for folder in (Path.cwd(), Path(given), Path(given).parent):
        if (folder / near / "contract.json").is_file():
            return f"; did you mean {os.path.relpath(folder / near)}?"
    is_known = near.isidentifier() and find_spec(near) is not None
    return f"; did you mean {near}?" if is_known else ""


def _import_folder(folder: Path, given: str) -> ModuleType:
    if not (folder / "__init__.py").is_file():
        raise UnreadablePackage(
            f"{given} does not belong to a generated package: {folder} has no __init__.py; pass the folder that "
            f"trellis-gen facade has written, or its contract.json{_suggest(given)}"
        )
    names = [folder.name]
    root = folder.parent
    while (root / "__init__.py").is_file():
        names.insert(0, root.name)
        root = root.parent
    package = _import_from(root, ".".join(names), given)
    origin = Path(package.__file__ or "").resolve().parent
    if origin != folder:
        raise UnreadablePackage(
            f"{given} is not what Python imports as {'.'.join(names)}: that is {origin}; pass the module name, or rename one"
        )
    return package


def _import_from(root: Path, name: str, given: str) -> ModuleType:
    sys.path.insert(0, str(root))
    try:
        return importlib.import_module(name)
    except Exception as error:  # importing runs the package, which may raise anything
        raise UnreadablePackage(
            f"{given} cannot be imported: {type(error).__name__}: {error}{_suggest(given)}"
        ) from error
    finally:
        sys.path.remove(str(root))
