"""Recognises a manifest without validating it, and without importing what validation needs.

Two manifests have the same fingerprint when they are the same JSON value with its members in the same order: only white space
does not count. A text that the parser might reject has no fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import NamedTuple, NoReturn, TypeGuard

from trellis_codegen.contract.limits import MAX_NUMBER_LENGTH, MAX_SIZE_BYTES

__all__ = ["ManifestSummary", "summarize_manifest"]


class ManifestSummary(NamedTuple):
    """What can be read from a manifest without validating it."""

    fingerprint: str
    """SHA-256 of the value, in hexadecimal."""
    contract_id: str
    used_ids: tuple[str, ...] = ()
    """The ids of the contracts that it uses."""


def summarize_manifest(data: bytes) -> ManifestSummary | None:
    """Return the summary of a manifest, or None when it has to be validated."""
    if len(data) > MAX_SIZE_BYTES:
        return None
    try:
        value: object = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_members,
            parse_constant=_refuse,
            parse_float=_float,
            parse_int=_integer,
        )
        contract_id = value.get("id") if _is_object(value) else None
        if not isinstance(contract_id, str):
            return None
        text = json.dumps(value, separators=(",", ":"))
    except (ValueError, RecursionError):
        return None
    return ManifestSummary(hashlib.sha256(text.encode()).hexdigest(), contract_id, tuple(_find_used(value)))


def _find_used(manifest: object) -> Iterator[str]:
    """Yield the id of each contract under `uses`, whatever else stands there."""
    uses = manifest.get("uses") if _is_object(manifest) else None
    found: dict[str, None] = {}
    for group in (uses.get("required"), uses.get("optional")) if _is_object(uses) else ():
        for use in group.values() if _is_object(group) else ():
            contract_id = use.get("contract") if _is_object(use) else None
            if isinstance(contract_id, str):
                found[contract_id] = None
    yield from found


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) < len(pairs):
        _refuse("a duplicate name")
    return result


def _float(number: str) -> float:
    return float(_bounded(number))


def _integer(number: str) -> int | float:
    return -0.0 if number == "-0" else int(_bounded(number))


def _bounded(number: str) -> str:
    return number if len(number) <= MAX_NUMBER_LENGTH else _refuse("a number that is too long")


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _refuse(what: str) -> NoReturn:
    raise ValueError(what)
