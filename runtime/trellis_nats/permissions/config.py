"""The permissions of an account: plain data, and as a server's configuration has them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from trellis_nats.grants import Grant, Operation

__all__ = ["Permissions", "covers"]

_INDENT: Final = "    "


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What a user may publish and subscribe to, and nothing else. Join two with `|`."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    allow_responses: timedelta | None = None
    """How long after a request the user may answer it, once, whatever the reply subject is. None: it may not answer."""

    def __or__(self, other: Permissions) -> Permissions:
        """Return what either allows, without the subjects that another one covers."""
        expiries = [expiry for expiry in (self.allow_responses, other.allow_responses) if expiry is not None]
        return Permissions(
            publish=_reduced((*self.publish, *other.publish)),
            subscribe=_reduced((*self.subscribe, *other.subscribe)),
            allow_responses=max(expiries, default=None),
        )

    def to_config(self) -> str:
        """Write the `permissions` of a user in a nats-server configuration file."""
        lines = [
            "permissions {",
            *_lines("publish", self.publish),
            *_lines("subscribe", self.subscribe),
        ]
        if self.allow_responses is not None:
            seconds = round(self.allow_responses.total_seconds())
            lines.append(f'{_INDENT}allow_responses {{ max: 1, expires: "{seconds}s" }}')
        return "\n".join([*lines, "}", ""])

    @classmethod
    def of(cls, grants: Iterable[Grant], *, allow_responses: timedelta) -> Permissions:
        """Gather the subjects of grants. `allow_responses` applies where one of them is to answer requests."""
        subjects: dict[Operation, list[str]] = {
            "publish to": [],
            "subscribe to": [],
            "answer requests on": [],
        }
        for grant in grants:
            subjects[grant.operation].append(grant.subject)
        return cls(
            publish=_reduced(subjects["publish to"]),
            subscribe=_reduced(subjects["subscribe to"]),
            allow_responses=allow_responses if subjects["answer requests on"] else None,
        )


def covers(pattern: str, subject: str) -> bool:
    """Return whether every subject that matches `subject`, which may be a pattern too, matches `pattern`."""
    wanted, given = pattern.split("."), subject.split(".")
    for place, part in enumerate(wanted):
        if part == ">":
            return len(given) > place
        if place >= len(given) or given[place] == ">" or part not in {"*", given[place]}:
            return False
    return len(wanted) == len(given)


def _reduced(subjects: Iterable[str]) -> tuple[str, ...]:
    distinct = tuple(dict.fromkeys(subjects))
    return tuple(
        subject
        for subject in distinct
        if not any(other != subject and covers(other, subject) for other in distinct)
    )


def _lines(operation: str, subjects: tuple[str, ...]) -> list[str]:
    # A server takes an empty list of allowed subjects for no limit at all.
    if not subjects:
        return [f'{_INDENT}{operation} {{ deny: [">"] }}']
    inner = [f"{_INDENT * 2}{json.dumps(subject)}" for subject in subjects]
    return [f"{_INDENT}{operation} {{ allow: [", *inner, f"{_INDENT}] }}"]
