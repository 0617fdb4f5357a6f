"""The index of a package, a file in it: what was generated, from what and by which generator.

From the index, a run knows which files it may rewrite or delete, which were edited, and whether there is nothing to do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeGuard

from trellis_codegen.output.files import Files
from trellis_codegen.problems import Problem, Severity

__all__ = ["INDEX_NAME", "Index", "Inputs", "hash_text", "read_index", "render_index"]

INDEX_NAME = ".trellis-gen.json"
"""The name of the index, in the package."""
SHAPE_VERSION = 1
"""The version of the index's own shape. A newer generator may write a greater one."""


class Inputs(NamedTuple):
    """Everything that decides what a run generates."""

    generator: str = ""
    """The version of the generator."""
    build: str = ""
    """A hash of the generator's own source, so that a checkout is not mistaken for the release of the same version."""
    manifest: str = ""
    """The fingerprint of the manifest."""
    package: str = ""
    source: str = ""
    """The file name of the manifest, which the header of each file has."""
    strict: bool = False
    names: Mapping[str, str] = MappingProxyType({})
    """The Python names that the project states."""
    used: Mapping[str, str] = MappingProxyType({})
    """The id and the fingerprint of each contract that the contract uses."""


class Index(NamedTuple):
    """What an earlier run recorded."""

    shape: int = SHAPE_VERSION
    inputs: Inputs = Inputs()
    digest: str = ""
    """The contract's digest."""
    warnings: tuple[Problem, ...] = ()
    """The warnings of the run, without lines and columns. A run with nothing to do repeats them."""
    files: Mapping[str, str] = MappingProxyType({})
    """File name to SHA-256 of its text, with LF line endings."""

    @property
    def substance(self) -> object:
        """What must agree for the package to be up to date. The rest only lets a run skip the work."""
        inputs = self.inputs
        return (self.shape, inputs.generator, inputs.package, inputs.source, self.digest, self.files)


def render_index(files: Files, *, inputs: Inputs, digest: str, warnings: tuple[Problem, ...] = ()) -> str:
    """Return the index of `files`."""
    document = {
        "version": SHAPE_VERSION,
        "generator": inputs.generator,
        "build": inputs.build,
        "digest": digest,
        "manifest": inputs.manifest,
        "options": {
            "package": inputs.package,
            "source": inputs.source,
            "strict": inputs.strict,
            **({"names": dict(inputs.names)} if inputs.names else {}),
        },
        **({"used": dict(inputs.used)} if inputs.used else {}),
        "warnings": sorted((_render_warning(warning) for warning in warnings), key=json.dumps),
        "files": {name: hash_text(text) for name, text in sorted(files.items())},
    }
    return json.dumps(document, indent=2) + "\n"


def read_index(text: str | None) -> Index:
    """Return the index with that text; an empty index if there is no text or it is not an index."""
    try:
        value: object = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return Index()
    if not _is_object(value):
        return Index()
    options = value.get("options")
    options = options if _is_object(options) else {}
    files, warnings, shape = value.get("files"), value.get("warnings"), value.get("version")
    inputs = Inputs(
        generator=_read_string(value, "generator"),
        build=_read_string(value, "build"),
        manifest=_read_string(value, "manifest"),
        package=_read_string(options, "package"),
        source=_read_string(options, "source"),
        strict=options.get("strict") is True,
        names=_read_strings(options.get("names")),
        used=_read_strings(value.get("used")),
    )
    return Index(
        shape=shape if isinstance(shape, int) else 0,
        inputs=inputs,
        digest=_read_string(value, "digest"),
        warnings=tuple(_read_problem(warning) for warning in _read_list(warnings) if _is_object(warning)),
        files=_read_strings(files),
    )


def hash_text(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _render_warning(problem: Problem) -> dict[str, object]:
    return {
        "pointer": list(problem.pointer),
        "rule": problem.rule,
        "what": problem.what,
        "hint": problem.hint,
        "onKey": problem.on_key,
    }


def _read_problem(value: dict[str, object]) -> Problem:
    pointer = tuple(step for step in _read_list(value.get("pointer")) if isinstance(step, str | int))
    hint = value.get("hint")
    return Problem(
        pointer=pointer,
        rule=_read_string(value, "rule"),
        what=_read_string(value, "what"),
        hint=hint if isinstance(hint, str) else None,
        on_key=value.get("onKey") is True,
        severity=Severity.WARNING,
    )


def _read_string(value: dict[str, object], name: str) -> str:
    member = value.get(name)
    return member if isinstance(member, str) else ""


def _read_strings(value: object) -> dict[str, str]:
    members = value if _is_object(value) else {}
    return {name: each for name, each in members.items() if isinstance(each, str)}


def _read_list(value: object) -> list[object]:
    return value if _is_list(value) else []


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)
