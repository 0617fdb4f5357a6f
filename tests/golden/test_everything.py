"""The two contracts that use every feature, and the packages that `trellis-gen facade` makes of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, cast, get_args, get_origin

from pydantic import BaseModel, JsonValue

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.parts import Part
from trellis_codegen.contract.reading import read_manifest
from trellis_codegen.schemas.keywords import CONSTRAINTS, ENFORCED_FORMATS, STRUCTURAL

ROOT: Final = Path(__file__).parents[2]
CONTRACTS: Final = (
    ROOT / "contracts" / "everything.manifest.json",
    ROOT / "contracts" / "everything_app.manifest.json",
)
ALTERNATIVES: Final = {"$schema", "definitions", "additionalItems"}
"""For editors, and older spellings of `$defs` and `items`."""


def read(path: Path) -> Manifest:
    return read_manifest(path.read_bytes()).manifest


def walk(value: object) -> Iterator[Part]:
    """Yield every object of the format in a contract."""
    if isinstance(value, BaseModel):
        assert isinstance(value, Part)
        yield value
        for name in value.model_fields_set:
            if name != "schemas":
                yield from walk(getattr(value, name))
    elif isinstance(value, dict):
        for member in cast("dict[str, object]", value).values():
            yield from walk(member)
    elif isinstance(value, list):
        for element in cast("list[object]", value):
            yield from walk(element)


def walk_json(value: JsonValue) -> Iterator[dict[str, JsonValue]]:
    """Yield every object in a schema."""
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from walk_json(member)
    elif isinstance(value, list):
        for element in value:
            yield from walk_json(element)


def find_parts() -> set[type[Part]]:
    """Return every object of the format that has members."""
    return {*Part.__subclasses__()}


def find_choices(part: type[Part]) -> Iterator[tuple[str, object]]:
    """Yield each value that a member of the format may have, where it may have a few."""
    for name, field in part.model_fields.items():
        for annotation in (field.annotation, *get_args(field.annotation)):
            if get_origin(annotation) is Literal:
                yield from ((name, choice) for choice in get_args(annotation))


def test_every_member_of_the_format_is_used() -> None:
    parts = [part for path in CONTRACTS for part in walk(read(path))]

    used = {(type(part), name) for part in parts for name in part.model_fields_set}

    every = {(part, name) for part in find_parts() for name in part.model_fields}
    assert {f"{part.__name__}.{name}" for part, name in every - used} == {"Manifest.json_schema"}


def test_every_choice_of_a_contract_is_made() -> None:
    """All but those that cannot stand in two contracts with two queues: they are in the golden cases."""
    made = {
        (type(part), name, value)
        for path in CONTRACTS
        for part in walk(read(path))
        for name in part.model_fields_set
        if isinstance(value := getattr(part, name), str)
    }

    every = {(part, name, choice) for part in find_parts() for name, choice in find_choices(part)}
    assert {(part.__name__, name, choice) for part, name, choice in every - made} == {
        ("KeyConcurrency", "stale_policy", "fail-stale"),
        ("KeyQueue", "when_full", "coalesce"),
        ("KeyQueue", "when_full", "reject"),
        ("Manifest", "kind", "agent"),
        ("Manifest", "kind", "device"),
    }


def test_every_enforced_keyword_and_format_is_used() -> None:
    schemas = [
        schema for path in CONTRACTS for schema in walk_json(json.loads(path.read_text()).get("schemas", {}))
    ]

    assert {keyword for schema in schemas for keyword in schema} >= (STRUCTURAL | CONSTRAINTS) - ALTERNATIVES
    formats = {str(schema["format"]) for schema in schemas if "format" in schema}
    assert formats == ENFORCED_FORMATS


def test_the_packages_are_fresh() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "trellis_codegen", "facade", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.stdout, ended.returncode) == ("", 0), ended.stderr
