"""The stream of events, and their subjects: templates filled from the event, escaped as other runtimes do (reference, 6.1).

Pure. Two values may give one token: `$a` and `_$a` do, and so do the empty string and `_`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from pydantic import JsonValue

from trellis_nats._calls.json_pointer import follow_pointer
from trellis_nats.errors import InvalidPayload
from trellis_nats.provision.requirements import StreamRequirement
from trellis_nats.specs import EventSpec

__all__ = ["EVENT_STREAM", "event_subject", "subject_token"]

EVENT_STREAM: Final = StreamRequirement(
    name="trellis", config={"subjects": ["events.>"], "retention": "limits", "storage": "file"}
)
"""The stream that keeps the events of all services."""

_PLACEHOLDER: Final = re.compile(r"\{(/[^{}]*)\}")
_ESCAPED: Final = re.compile(
    "[\x00-\x20\x7f.*>~\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff\ud800-\udfff]"
)
"""What other runtimes escape (NUL, their white space, `.` `*` `>` `~`), and what is not valid in a subject."""
_SUBJECT_CHARACTERS_MAX: Final = 1024
_FIXED_BELOW: Final = 1e21
_FIXED_FROM: Final = 1e-6


def event_subject(spec: EventSpec, body: JsonValue) -> str:
    """Return the subject on which an event is published.

    Raises:
        InvalidPayload: a value that the subject needs is missing, or cannot be part of a subject.
    """
    what = f'event "{spec.name}"'

    def token(found: re.Match[str]) -> str:
        pointer = found[1]
        value = follow_pointer(pointer, body)
        if value is None:
            raise InvalidPayload(what, [(pointer, "Missing required data for subject template")])
        if isinstance(value, dict | list):
            raise InvalidPayload(
                what, [(pointer, "must be a string, a number or a boolean to be part of a subject")]
            )
        return subject_token(value)

    subject = _PLACEHOLDER.sub(token, spec.subject)
    if len(subject) > _SUBJECT_CHARACTERS_MAX:
        places = [(pointer, "makes the subject longer than 1024 characters") for pointer in spec.params]
        raise InvalidPayload(what, places)
    return subject


def subject_token(value: str | float) -> str:
    """Write a value as one token of a subject."""
    text = _ESCAPED.sub(lambda found: f"~{ord(found[0]):X}~", _text(value))
    return f"_{text}" if not text or text.startswith("$") else text


def _text(value: str | float) -> str:
    """Write a value as JavaScript does: a number that is whole has no fraction, whatever its type."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if not value:
            return "0"
        case float() if _FIXED_FROM <= abs(value) < _FIXED_BELOW:
            return str(int(value)) if value.is_integer() else format(Decimal(repr(value)), "f")
        case _:
            return re.sub(r"e([+-])0", r"e\1", repr(value))
