"""Logs the callers that are refused: a line a second, in which a noisy caller hides no other one."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Final

from trellis_nats._support.plural import plural

__all__ = ["RefusalLog"]

_EVERY: Final = 1.0
"""Seconds between two lines of a surface: strangers cannot fill the log."""
_NAMED_MAX: Final = 20
"""How many pairs of a caller that is known and a reason a line has at most."""
_STRANGERS_MAX: Final = 5
"""The same of others. They have room of their own: any number of keys can be made up."""


class RefusalLog:
    """Writes the first refusal at once. Those of the next second are one line together, by caller and reason."""

    def __init__(self, log: logging.Logger, what: str, fields: Mapping[str, object]) -> None:
        """Prepare; `what` names the surface, and `fields` are those of its log records."""
        self._log = log
        self._what = what
        self._fields = fields
        self._timer: asyncio.TimerHandle | None = None
        self._known: Counter[str] = Counter()
        self._strangers: Counter[str] = Counter()
        self._others = 0

    def write(
        self, text: str, *args: object, refusal: str, is_known: bool, extra: Mapping[str, object]
    ) -> None:
        """Log a refused call, or count it in the next line; it is then logged at level DEBUG.

        Args:
            text: the line, and `args` what it shows.
            args: as for the logging module.
            refusal: the caller and the reason, for the next line.
            is_known: whether the authority knows the caller: a stranger can only state a key.
            extra: the fields of the record.
        """
        if self._timer is None:
            self._log.warning(text, *args, extra=extra)
            self._timer = asyncio.get_running_loop().call_later(_EVERY, self._flush)
            return
        self._log.debug(text, *args, extra=extra)
        counts, size_max = (self._known, _NAMED_MAX) if is_known else (self._strangers, _STRANGERS_MAX)
        if refusal in counts or len(counts) < size_max:
            counts[refusal] += 1
        else:
            self._others += 1

    def _flush(self) -> None:
        self._timer = None
        counts = [*self._known.most_common(), *self._strangers.most_common()]
        total = sum(count for _, count in counts) + self._others
        if not total:
            return
        named = "; ".join(f"{count} of {refusal}" for refusal, count in counts)
        more = f"; {self._others} of others" if self._others else ""
        self._log.warning(
            "%s: %s not admitted: %s%s",
            self._what,
            plural(total, "more request was", "more requests were"),
            named,
            more,
            extra=self._fields,
        )
        self._known.clear()
        self._strangers.clear()
        self._others = 0
        self._timer = asyncio.get_running_loop().call_later(_EVERY, self._flush)
