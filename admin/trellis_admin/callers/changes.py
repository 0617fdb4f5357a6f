"""What is changed in a file of callers. Pure: it works on the parsed JSON, so that order and comments stay."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final, TypeAlias

from trellis_nats.auth.callers_format import find_key_problem

__all__ = ["CallerNotFound", "CallersProblem", "CallersRefused", "Entries", "Entry", "grant", "revoke"]

Entry: TypeAlias = dict[str, Any]  # a parsed entry, as the file has it
Entries: TypeAlias = list[Entry]

_BEGINNING_MIN: Final = 8
_KEY_LENGTH: Final = 43


class CallersProblem(Exception):
    """A command cannot be done as it is given."""


class CallerNotFound(CallersProblem):
    """The file has no such caller."""


class CallersRefused(CallersProblem):
    """A change is refused: it would overwrite a key, or needs a word more."""


def grant(
    entries: Entries,
    caller: str,
    capabilities: Sequence[str],
    *,
    name: str | None = None,
    kind: str | None = None,
    comment: str | None = None,
    enable: bool = False,
) -> Entry:
    """Give a caller capabilities in addition to those that it has; a key that the file does not have is added.

    Args:
        entries: the callers of the file, which are changed.
        caller: a public key, its first 8 characters or more, or a name that one key has.
        capabilities: what it gets.
        name: its name; a new key needs one.
        kind: service, user or device.
        comment: for readers of the file.
        enable: whether a disabled caller may call again.

    Raises:
        CallersProblem: there is no such caller, several are, or a new key has no name.
    """
    try:
        entry = _find(entries, caller)
    except CallerNotFound:
        if len(caller) != _KEY_LENGTH:
            raise
        entry = _create(caller, name)
        entries.append(entry)
    if entry.get("disabled") and not enable:
        raise CallersRefused(f"{entry['name']} is disabled: add --enable if its key may call again")
    given = {"name": name, "kind": kind, "comment": comment}
    entry |= {member: value for member, value in given.items() if value is not None}
    entry.pop("disabled", None)
    entry["capabilities"] = [*dict.fromkeys([*entry.get("capabilities", []), *capabilities])]
    return entry


def revoke(entries: Entries, caller: str, capabilities: Sequence[str], *, remove: bool = False) -> Entry:
    """Take capabilities from a caller. Without any it is disabled, or removed from the file.

    Raises:
        CallersProblem: there is no such caller, several are, or it does not have a capability.
    """
    entry = _find(entries, caller)
    held: list[str] = entry.get("capabilities", [])
    for capability in capabilities:
        if capability not in held:
            raise CallersProblem(
                f"{entry['name']} does not have {capability}; it has {', '.join(held) or 'none'}"
            )
    if remove:
        entries.remove(entry)
    elif capabilities:
        entry["capabilities"] = [each for each in held if each not in capabilities]
    else:
        entry["disabled"] = True
    return entry


def _create(key: str, name: str | None) -> Entry:
    problem = find_key_problem(key)
    if problem is not None:
        raise CallersProblem(problem)
    if name is None:
        raise CallersProblem(f"the file does not have the key {key}: add it with --name NAME")
    return {"key": key, "name": name, "kind": "service"}


def _find(entries: Entries, caller: str) -> Entry:
    found = (
        [entry for entry in entries if entry["key"] == caller]
        or [entry for entry in entries if entry["name"] == caller]
        or [entry for entry in entries if len(caller) >= _BEGINNING_MIN and entry["key"].startswith(caller)]
    )
    if len(found) > 1:
        keys = ", ".join(entry["key"] for entry in found)
        raise CallersProblem(f"{caller} means {len(found)} keys: name one of {keys}")
    if not found:
        names = [entry["name"] for entry in entries]
        # What has the length of a key may be a seed.
        shown = "such key" if len(caller) == _KEY_LENGTH else f'caller "{caller}"'
        raise CallerNotFound(f"the file has no {shown}{_suggest(caller, names)}")
    return found[0]


def _suggest(given: str, known: Sequence[str]) -> str:
    near = get_close_matches(given, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
