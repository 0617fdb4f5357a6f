"""Lists what a validation error says, without the values."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from trellis_nats._support.union_labels import KEY_STEP, label_of

__all__ = ["list_issues"]

_COUNTED_ONLY: Final = 10_000
_LISTED_MAX: Final = 100
_NAME_MAX: Final = 100
_TEXT_MAX: Final = 500
"""Limits of what an error says about a value: its text is logged, stored and sent back to the sender."""


def list_issues(error: ValidationError) -> list[tuple[str, str]]:
    """List the places and rules of a validation error, without the values: at most 100, and how many more there are.

    A place is a JSON pointer into the value, after a `#`. Where a member of a union is a class, the text names it.
    """
    count = error.error_count()
    if (
        count > _COUNTED_ONLY
    ):  # a megabyte can be wrong in 600,000 places; to list them takes seconds and 300 MB
        return [("#", f"does not match in {count} places")]
    items = error.errors(include_url=False, include_context=False, include_input=False)
    issues = [_issue(item["loc"], item["msg"]) for item in items[:_LISTED_MAX]]
    if count > _LISTED_MAX:
        issues.append(("#", f"does not match in {count - _LISTED_MAX} more places"))
    return issues


def _issue(location: tuple[str | int, ...], text: str) -> tuple[str, str]:
    labels = [label for step in location if (label := label_of(step))]
    steps = [str(step) for step in location if label_of(step) is None]
    if steps[-1:] == [KEY_STEP]:
        steps.pop()
        text = f"{text} (the name of the member)"
    elif labels and labels[-1][:1].isupper():
        text = f"{text} (as {labels[-1]})"
    place = "/".join(["#", *(_step(step) for step in steps)])
    return _cut(place, _TEXT_MAX), _cut(text, _TEXT_MAX)


def _step(name: str) -> str:
    """Write a name as a step of a JSON pointer. A sender chooses the names of members that the schema does not have."""
    if not name.isprintable():
        name = name[: _NAME_MAX + 1].encode("unicode_escape").decode()
    return _cut(name, _NAME_MAX).replace("~", "~0").replace("/", "~1")


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
