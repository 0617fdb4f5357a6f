"""Writes the headers of the calls of this program: what they belong to, what the surface adds, and their proof."""

from __future__ import annotations

from collections.abc import Mapping

from trellis_nats.auth import Signer
from trellis_nats.context import Context
from trellis_nats.ids import new_id

__all__ = ["CallHeaders", "sign_message"]


class CallHeaders:
    """Writes the headers of the calls of one procedure, feed or operation."""

    def __init__(self, signer: Signer | None, lines: bytes) -> None:
        """Prepare.

        Args:
            signer: signs the calls. None: they are not signed.
            lines: the encoded headers that each call has.
        """
        self._signer = signer
        self._lines = lines

    def write(self, context: Context, subject: str, data: bytes, more: bytes = b"") -> bytes:
        """Return the encoded headers of one call, `more` included.

        Write them when the call is sent, and again when it is sent again: a proof is valid for 30 s.
        """
        lines = context.header_lines() + self._lines + more
        if self._signer is None:
            return lines
        return lines + self._signer.header_lines(subject, data, context.request_id)


def sign_message(
    signer: Signer | None, subject: str, data: bytes, headers: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the headers of a message that follows a call, such as a chunk, with its proof if there is a signer."""
    if signer is None:
        return headers
    request_id = new_id()
    return {**headers, "request-id": request_id, **signer.headers(subject, data, request_id)}
