"""Knows a manifest again without understanding it, and without loading what understanding takes.

Two manifests have the same fingerprint when they are the same JSON value: white space and the order of members do not
count. What could be refused in one text of a value and not in another has no fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import NoReturn, TypeGuard

from trellis_codegen.contract.limits import MAX_NUMBER_LENGTH, MAX_SIZE_BYTES

__all__ = ["Glance", "glance"]


@dataclass(frozen=True, slots=True)
class Glance:
    """What can be seen of a manifest at once."""

    fingerprint: str
    """SHA-256 of the value, in hexadecimal."""
    contract_id: str


def glance(data: bytes) -> Glance | None:
    """Return what a manifest is at a glance, or None when only reading it can tell."""
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
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return None
    return Glance(hashlib.sha256(text.encode()).hexdigest(), contract_id)


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) < len(pairs):
        _refuse("a name that is given twice")
    return result


def _float(number: str) -> float:
    return float(_bounded(number))


def _integer(number: str) -> int | float:
    return -0.0 if number == "-0" else int(_bounded(number))


def _bounded(number: str) -> str:
    return number if len(number) <= MAX_NUMBER_LENGTH else _refuse("a number of such length")


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _refuse(what: str) -> NoReturn:
    raise ValueError(what)
