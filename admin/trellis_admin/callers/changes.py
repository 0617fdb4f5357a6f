"""What is changed in a file of callers. Pure: it works on the parsed JSON, so that order and comments stay."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final, TypeAlias

from trellis_nats.auth.callers_format import find_key_problem

__all__ = [
    "CallerNotFound",
    "CallersProblem",
    "CallersRefused",
    "Entries",
    "Entry",
    "grant",
    "revoke",
    "revoke_all",
]

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
    like: str | None = None,
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
        like: a caller of the file whose capabilities it gets too, and, if it is a new key, name and kind. Of several keys with a
            name, the one that is not disabled.
        enable: whether a disabled caller may call again.

    Raises:
        CallersProblem: there is no such caller, several are, or a new key has no name.
    """
    model = None if like is None else _find(entries, like, prefers_active=True)
    try:
        entry = _find(entries, caller)
    except CallerNotFound:
        if len(caller) != _KEY_LENGTH:
            raise
        entry = _create(caller, name, model)
        entries.append(entry)
    if entry.get("disabled") and not enable:
        raise CallersRefused(f"{entry['name']} is disabled: add --enable if its key may call again")
    given = {"name": name, "kind": kind, "comment": comment}
    entry |= {member: value for member, value in given.items() if value is not None}
    entry.pop("disabled", None)
    same: list[str] = [] if model is None else model.get("capabilities", [])
    entry["capabilities"] = [*dict.fromkeys([*entry.get("capabilities", []), *same, *capabilities])]
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


def revoke_all(entries: Entries, name: str, *, remove: bool = False) -> Entries:
    """Disable every key with a name, or remove it from the file; return them.

    Raises:
        CallerNotFound: no key has this name.
    """
    found = [entry for entry in entries if entry["name"] == name]
    if not found:
        raise _not_found(entries, name)
    for entry in found:
        revoke(entries, entry["key"], [], remove=remove)
    return found


def _create(key: str, name: str | None, model: Entry | None) -> Entry:
    problem = find_key_problem(key)
    if problem is not None:
        raise CallersProblem(problem)
    if model is not None:
        return {"key": key, "name": model["name"], "kind": model.get("kind", "service")}
    if name is None:
        raise CallersProblem(f"the file does not have the key {key}: add it with --name NAME")
    return {"key": key, "name": name, "kind": "service"}


def _find(entries: Entries, caller: str, *, prefers_active: bool = False) -> Entry:
    found = (
        [entry for entry in entries if entry["key"] == caller]
        or [entry for entry in entries if entry["name"] == caller]
        or [entry for entry in entries if len(caller) >= _BEGINNING_MIN and entry["key"].startswith(caller)]
    )
    active = [entry for entry in found if not entry.get("disabled")]
    if prefers_active and len(active) == 1:
        return active[0]
    if len(found) > 1:
        keys = ", ".join(entry["key"] for entry in found)
        raise CallersProblem(f"{caller} means {len(found)} keys: name one of {keys}")
    if not found:
        raise _not_found(entries, caller)
    return found[0]


def _not_found(entries: Entries, caller: str) -> CallerNotFound:
    names = [entry["name"] for entry in entries]
    # What has the length of a key may be a seed.
    shown = "such key" if len(caller) == _KEY_LENGTH else f'caller "{caller}"'
    return CallerNotFound(f"the file has no {shown}{_suggest(caller, names)}")


def _suggest(given: str, known: Sequence[str]) -> str:
    near = get_close_matches(given, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
