"""What a server says when an account may not use a subject, and who has to hear it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from trellis_nats._nats.subscriptions import Refusal
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats.errors import PermissionDenied

__all__ = ["PermissionErrors", "PermissionViolation", "parse_violation"]

_log = logging.getLogger(__name__)

_KIND_TOKENS: Final = 2
"""Subjects that share as many tokens are of one kind: acknowledgements have one for each message, `$JS.ACK.…`."""

_TEXT: Final = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"')


@dataclass(frozen=True, slots=True)
class PermissionViolation:
    """A refused subject. nats-py hands the text over in lower case, so compare without case."""

    operation: Literal["publish to", "subscribe to"]
    subject: str


def parse_violation(text: str) -> PermissionViolation | None:
    """Read the text of a permissions violation; None when it is worded otherwise."""
    found = _TEXT.search(text.lower())
    if found is None:
        return None
    return PermissionViolation("publish to" if found[1] == "publish" else "subscribe to", found[2])


class PermissionErrors:
    """Hands denied publishes to who awaits their answer, and keeps denied subscriptions for the next flush."""

    def __init__(self, on_publish: Callable[[str], bool], refused: Callable[[str], Refusal]) -> None:
        """Prepare.

        Args:
            on_publish: told the subject in lower case; says whether somebody awaited an answer.
            refused: told the subject of a subscription in lower case; says what is known about it.
        """
        self._on_publish = on_publish
        self._refused = refused
        self._subscriptions: list[str] = []
        self._takers: list[Callable[[PermissionViolation], bool]] = []
        self._log_throttle = LogThrottle(_log)

    def take(self, taker: Callable[[PermissionViolation], bool]) -> Callable[[], None]:
        """Show every denial to `taker` first. Where it returns True, nobody else hears of it. Returns the remover."""
        self._takers.append(taker)
        return lambda: self._takers.remove(taker)

    def hear(self, text: str) -> None:
        """Take a permissions violation as the server words it."""
        denial = parse_violation(text)
        if denial is None:
            _log.error("the server denies: %s", text)
        elif any(taker(denial) for taker in self._takers):
            return
        elif denial.operation == "subscribe to":
            subject, is_new, is_repeated = self._refused(denial.subject)
            if is_new and subject not in self._subscriptions:
                self._subscriptions.append(subject)
            level = logging.DEBUG if is_repeated else logging.ERROR
            _log.log(level, 'the account may not subscribe to "%s"', subject)
        elif not self._on_publish(denial.subject):
            kind = ".".join(denial.subject.split(".")[:_KIND_TOKENS])
            text = 'the account may not publish to "%s"; the message is lost'
            self._log_throttle.write(logging.ERROR, kind, text, denial.subject)

    def raise_kept(self) -> None:
        """Raise the oldest refused subscription, once.

        Raises:
            PermissionDenied: there is one.
        """
        if self._subscriptions:
            raise PermissionDenied("subscribe to", self._subscriptions.pop(0))
