"""JSON pointers of a contract (RFC 6901). Pure."""

from __future__ import annotations

import re

from pydantic import JsonValue

__all__ = ["follow_pointer"]


def follow_pointer(pointer: str, value: JsonValue) -> JsonValue:
    """Return the value at a pointer; None where it leads nowhere."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        match value:
            case dict():
                value = value.get(name)
            case list():
                is_index = re.fullmatch("0|[1-9][0-9]{0,8}", name) and int(name) < len(value)
                value = value[int(name)] if is_index else None
            case _:
                return None
    return value
