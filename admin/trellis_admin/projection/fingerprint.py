"""Groups errors that differ only in numbers, ids and other values. Pure.

A group is a service, a queue, a type of errors and a pattern: the first line of the message with placeholders for its values.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

__all__ = ["SplitError", "fingerprint_of", "message_of", "pattern_of", "split_error", "title_error"]

_LINE_MAX: Final = 500
"""Characters of the first line that count."""
_TYPE_MAX: Final = 200

_TYPED: Final = re.compile(r"((?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*))(?:: ?|$)")
_HUMPS: Final = re.compile(r"[A-Z]+[a-z0-9]+[A-Z]\w*|\w+(?:Error|Exception|Timeout|Exit|Interrupt|Warning)")
"""A name of a class, as opposed to a word before a colon: two capitals, or a usual ending."""

_URL: Final = re.compile(
    r"\b([a-z][a-z0-9+.-]*://)([^\s/?#\"'<>]*)([^\s?#\"'<>]*)(\?[^\s#\"'<>]*)?(#[^\s\"'<>]*)?"
)
_TIME: Final = re.compile(
    r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|[+-]\d\d:?\d\d))?)?\b"
)
_ADDRESS: Final = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+")
"""An address of e-mail."""
_QUOTED: Final = re.compile(r"'([^'\n]*)'|\"([^\"\n]*)\"|`([^`\n]*)`")
_NAME: Final = re.compile(r"[A-Za-z_.\-<>/]{1,60}")
"""What is kept in quotes: the name of a column, an attribute, a type."""
_TOKEN: Final = re.compile(r"[\w-]*\d(?:[\w-]|[.,:](?=\d))*")
"""A word with a digit in it. Points, commas and colons between digits belong to it: 30.5, 1,000, 10.0.0.1:4222."""
_NUMBER: Final = re.compile(r"-?\d[\d_.,:]*(ns|us|ms|s|m|h|d|min|B|kB|KB|MB|GB|KiB|MiB|GiB|th|st|nd|rd|x)?")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]+")
_SHORT: Final = re.compile(r"[A-Z]{1,3}\d|(?i:v\d|utf8|ipv[46]|sha1|md5|s3|ec2|h[23]|mp[34])")
"""What is kept though it ends in a digit: a code in capitals, such as E1, and names such as v2, utf8. Others are ids: c0, x9."""
_SPACES: Final = re.compile(r"\s+")


class SplitError(NamedTuple):
    """The parts of an error."""

    type: str | None
    """The name of the exception's class, without its module; None where the error does not begin with one."""
    message: str


def split_error(error: str) -> SplitError:
    """Split the text of an error, as workers store it: the type comes first, before a colon."""
    found = _TYPED.match(error, 0, _TYPE_MAX)
    if found is None or not _HUMPS.fullmatch(found[2]):
        return SplitError(None, error)
    return SplitError(found[2], error[found.end() :])


def message_of(kind: str | None, error: str) -> str:
    """Return the text of an error without its type, where it begins with that, with or without a module."""
    if not kind:
        return error
    return re.sub(rf"\A(?:(?:[A-Za-z_]\w*\.)*{re.escape(kind)}(?::\s*|\Z))+", "", error)


def title_error(kind: str | None, error: str) -> str:
    """Return the text of an error after its type, which stands there once."""
    message = message_of(kind, error)
    return ": ".join(part for part in (kind, message) if part)


def pattern_of(message: str) -> str:
    """Return the first line of a message with placeholders for its values."""
    line = next((line for line in message[: 4 * _LINE_MAX].splitlines() if line.strip()), "")[:_LINE_MAX]
    line = _URL.sub(_replace_url, line)
    line = _ADDRESS.sub("<address>", line)
    line = _TIME.sub("<time>", line)
    line = _QUOTED.sub(_replace_quoted, line)
    line = _TOKEN.sub(_replace_token, line)
    return _SPACES.sub(" ", line).strip()


def fingerprint_of(service: str, queue: str, error_type: str | None, pattern: str) -> int:
    """Return the fingerprint of a group, 32 bits; it is shown as eight hexadecimal digits."""
    text = "\0".join((service, queue, error_type or "", pattern))
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=4).digest(), "big")


def _replace_url(found: re.Match[str]) -> str:
    scheme, host, path, query, _ = found.groups()
    parts = [part if _is_fixed(part) else "<id>" for part in path.split("/")]
    host = host.rpartition("@")[2]
    return f"{scheme}{_TOKEN.sub(_replace_token, host)}{'/'.join(parts)}{'?<query>' if query else ''}"


def _is_fixed(part: str) -> bool:
    return not any(character.isdigit() for character in part) or _SHORT.fullmatch(part) is not None


def _replace_quoted(found: re.Match[str]) -> str:
    quote = found[0][0]
    inside = found[0][1:-1]
    return found[0] if _NAME.fullmatch(inside) else f"{quote}<text>{quote}" if inside else found[0]


def _replace_token(found: re.Match[str]) -> str:
    token = found[0]
    number = _NUMBER.fullmatch(token)
    if number is not None:
        return f"<number>{number[1] or ''}"
    if _SHORT.fullmatch(token):
        return token
    return "<hex>" if _HEX.fullmatch(token) else "<id>"
