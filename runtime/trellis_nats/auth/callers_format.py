"""The format of a file of callers (docs/guides/security.md): which keys may call, and what. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection
from typing import Annotated, Final, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from trellis_nats._support.issues import list_issues
from trellis_nats.auth.base64url import decode_base64url
from trellis_nats.auth.caller import CallerKind
from trellis_nats.auth.ed25519 import KEY_BYTES, is_public_key
from trellis_nats.errors import ConfigurationError

__all__ = ["CALLERS_FORMAT", "CALLERS_SIZE_MAX", "CallerEntry", "find_key_problem", "parse_callers"]

CALLERS_FORMAT: Final = "trellis.callers.v1"
CALLERS_SIZE_MAX: Final = 8 * 1024 * 1024
"""Bytes of a file. 10,000 keys with two capabilities each are 1.6 MB."""

_KEYS_MAX: Final = 10_000
_CAPABILITIES_MAX: Final = 1_000
_CAPABILITY: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.:-]*", re.ASCII)
_ISSUES_MAX: Final = 100
_WORD_MAX: Final = 30
"""Characters of the name of a member: fewer than a seed has, so that an error shows no seed that stands there."""


def _check_capability(text: str) -> str:
    if "*" in text or ">" in text:
        raise PydanticCustomError("capability", "there are no wildcards: list each capability by its name")
    if _CAPABILITY.fullmatch(text) is None:
        raise PydanticCustomError(
            "capability", "a capability is a name as in the contract: orders-service::orders.write"
        )
    return text


def _check_name(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise PydanticCustomError(
            "name", "a name has printable characters, and no space at its beginning and end"
        )
    return text


class CallerEntry(BaseModel):
    """One public key, and what its holder may do."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    key: str
    name: Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_check_name)]
    kind: CallerKind = "service"
    capabilities: Annotated[
        list[Annotated[str, StringConstraints(max_length=200), AfterValidator(_check_capability)]],
        Field(max_length=_CAPABILITIES_MAX),
    ] = []
    disabled: bool = False
    comment: Annotated[str, StringConstraints(max_length=1000)] | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    format: Literal["trellis.callers.v1"]
    callers: Annotated[list[CallerEntry], Field(max_length=_KEYS_MAX)]


def parse_callers(data: bytes, *, where: str, known: Collection[str] = ()) -> list[CallerEntry]:
    """Return the entries of a file of callers.

    Args:
        data: its content.
        where: how the error names it.
        known: public keys that were checked before: each check takes 50 us.

    Raises:
        ConfigurationError: it has errors; all are listed, by their places, without what stands there.
    """
    try:
        value: object = json.loads(data.decode(), object_pairs_hook=_read_members)
    except UnicodeDecodeError:
        raise ConfigurationError(f"{where} is not text in UTF-8") from None
    except RecursionError:
        raise ConfigurationError(f"{where} is nested too deeply") from None
    except ValueError as error:
        raise ConfigurationError(f"{where} is not valid JSON: {error}") from None
    issues = _list_key_issues(value, known)
    try:
        entries = _File.model_validate(value).callers
    except ValidationError as error:
        issues = [*list_issues(error), *issues]
    else:
        if not issues:
            return entries
    raise ConfigurationError(
        f"{where} has errors: " + "; ".join(f"{place}: {text}" for place, text in issues)
    )


def _read_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if any(len(name) > _WORD_MAX for name in members):
        raise ValueError(f"a name of a member has more than {_WORD_MAX} characters")
    if len(members) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f'a member "{twice}" occurs twice in one object')
    return members


def _list_key_issues(value: object, known: Collection[str]) -> list[tuple[str, str]]:
    entries = cast("dict[str, object]", value).get("callers") if isinstance(value, dict) else None
    issues: list[tuple[str, str]] = []
    first_at: dict[str, int] = {}
    for at, entry in enumerate(cast("list[object]", entries) if isinstance(entries, list) else ()):
        key = cast("dict[str, object]", entry).get("key") if isinstance(entry, dict) else None
        if len(issues) >= _ISSUES_MAX or at >= _KEYS_MAX:
            break
        if not isinstance(key, str):
            continue  # the model says so
        first = first_at.setdefault(key, at)
        problem = f"the same key as #/callers/{first}" if first < at else find_key_problem(key, known)
        if problem is not None:
            issues.append((f"#/callers/{at}/key", problem))
    return issues


def find_key_problem(text: str, known: Collection[str] = ()) -> str | None:
    """Return what is wrong with the text of a public key, without the text: it may be a seed."""
    if text in known:
        return None
    try:
        key = decode_base64url(text, size=KEY_BYTES)
    except ValueError:
        return "a public key is 43 characters of A-Z a-z 0-9 _ -, as trellis callers new prints it"
    if is_public_key(key):
        return None
    return "this is not a public key; if it is the seed of one, others may have read the secret here: replace that key"
