"""Reads the event of a work message, with its payload decoded in the same pass. Pure."""

from __future__ import annotations

import re
from typing import Any, Final, Generic, cast

from pydantic import ConfigDict, JsonValue, create_model

from trellis_nats.codec import decode_json
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.payload_reader import PayloadReader, ReadPayload
from trellis_nats.jobs.model.type_vars import PayloadT
from trellis_nats.json_types import may_contain_nan

__all__ = ["WorkEventReader"]

_find_small_e: Final = re.compile(rb"e\+?\d{3,}[\s,}\]]").search
"""Finds a number with an exponent of three digits or more."""
_find_large_e: Final = re.compile(rb"E\+?\d{3,}[\s,}\]]").search
"""Likewise. One pattern for both would not begin with a byte that `re` can search for quickly."""
_LONG_DIGITS: Final = 190
"""The distance between the bytes that are checked. A number with a two-digit exponent overflows from 210 digits on, so one
of its digits is checked."""


class _DecodedEvent(LifecycleEvent):
    """An event whose payload is decoded.

    Its configuration is pydantic's default, because it also applies to a payload type that has none.
    """

    model_config = ConfigDict(extra="ignore", populate_by_name=False, alias_generator=None)


class WorkEventReader(Generic[PayloadT]):
    """Reads the events of one queue's work messages.

    Almost every payload is decoded together with its event, from the bytes, once. A message for which that fails is
    read as any event is, and its payload separately, so that the error names what is wrong.
    """

    def __init__(self, payloads: PayloadReader[PayloadT]) -> None:
        self._payloads = payloads
        # Any: no type checker knows the type of a field that is made at run time
        payload: Any = (payloads.shape, ...)
        self._event = create_model("DecodedEvent", __base__=_DecodedEvent, payload=payload)

    def read(self, data: bytes, digest: str) -> LifecycleEvent | None:
        """Read an event that the contract with this digest wrote; None when the bytes are not one."""
        if not self._payloads.always_upcasts(digest) and not _may_overflow(data):
            try:
                event = self._event.__pydantic_validator__.validate_json(data, strict=True, by_name=False)
            except Exception:  # noqa: BLE001, S110 - a payload's own validator may raise anything; it is read again below
                pass
            else:
                return cast("LifecycleEvent", event)
        return LifecycleEvent.parse(data)

    def payload(self, event: LifecycleEvent, digest: str) -> ReadPayload[PayloadT]:
        """Return the payload of an event that the contract with this digest wrote.

        Raises:
            InvalidPayload: it does not match its type, or contains a number that JSON does not have, and was not upcast.
        """
        if isinstance(event, _DecodedEvent):
            return ReadPayload(cast("PayloadT", event.payload), None)
        return self._payloads.read(event.payload, digest)

    def payload_json(self, event: LifecycleEvent, data: bytes, digest: str) -> JsonValue:
        """Return the payload of an event as JSON of this version; as it is stored, if it can be neither read nor upcast.

        `data` is the text that the event was read from.
        """
        if isinstance(event, _DecodedEvent):
            body = decode_json(data)
            return body.get("payload") if isinstance(body, dict) else None
        return self._payloads.upcast_json(event.payload, digest)


def _may_overflow(data: bytes) -> bool:
    """Return whether JSON text may contain NaN, an infinity, or a number so large that it reads as one.

    It may be a false alarm, which costs a little time. Looking is much faster than to check each number.
    """
    if may_contain_nan(data) or _find_small_e(data) or _find_large_e(data):
        return True
    for at in range(_LONG_DIGITS, len(data), _LONG_DIGITS):  # noqa: SIM110 - `any` takes twice as long
        if data[at - 9 : at + 9].isdigit():
            return True
    return False
