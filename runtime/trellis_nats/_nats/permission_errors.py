"""Permission errors of the server: parses their text and finds what they concern."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from trellis_nats._nats.subscriptions import Refusal
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats.errors import PermissionDenied

__all__ = ["PermissionErrors", "PermissionViolation", "parse_violation"]

_log = logging.getLogger(__name__)

_API: Final = "$JS.API"
_API_SENT: Final = f"{_API.lower()}."
_DOMAIN_SENT: Final = re.compile(r"\$js\.[^.]+\.api\.")
_INBOXES: Final = ("_inbox.", "_inbox_")
_KIND_TOKENS: Final = 2
"""Subjects with the same first tokens share a log throttle: acknowledgements have a subject per message, `$JS.ACK.…`."""

_TEXT: Final = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"')


@dataclass(frozen=True, slots=True)
class PermissionViolation:
    """A refused subject. nats-py passes the text on in lower case, so compare without case."""

    operation: Literal["publish to", "subscribe to"]
    subject: str


def parse_violation(text: str) -> PermissionViolation | None:
    """Parse the text of a permissions violation; None for other texts."""
    found = _TEXT.search(text.lower())
    if found is None:
        return None
    return PermissionViolation("publish to" if found[1] == "publish" else "subscribe to", found[2])


class PermissionErrors:
    """Fails the publishes that the server denies, and keeps denied subscriptions for the next flush."""

    def __init__(
        self,
        on_publish: Callable[[str], bool],
        on_subscription: Callable[[str], Refusal],
        *,
        api_prefix: str = _API,
    ) -> None:
        """Prepare.

        Args:
            on_publish: called with the subject in lower case; returns whether a caller waited for the reply.
            on_subscription: called with the subject in lower case; returns what is known about the subscription.
            api_prefix: the prefix of JetStream's API. A server names the subject to which it mapped what was sent there.
        """
        self._on_publish = on_publish
        self._on_subscription = on_subscription
        self._mapped_from = "" if api_prefix == _API else f"{api_prefix.lower()}."
        self._refused: list[str] = []
        self._handlers: list[Callable[[PermissionViolation], bool]] = []
        self._log_throttle = LogThrottle(_log)

    def add_handler(self, handler: Callable[[PermissionViolation], bool]) -> Callable[[], None]:
        """Pass each error to `handler` first; True means that it is handled. Return the function that removes it."""
        self._handlers.append(handler)
        return lambda: self._handlers.remove(handler)

    def handle(self, text: str) -> None:
        """Handle a permission error in the server's words."""
        violation = self._as_sent(parse_violation(text))
        if violation is None:
            _log.error("the server reports: %s", text, extra=log_fields(LogEvent.PERMISSION_DENIED))
            return
        is_handled = False
        for handler in tuple(self._handlers):  # several may wait for one subject: each learns it
            is_handled = handler(violation) or is_handled
        if violation.operation == "publish to":
            is_handled = self._on_publish(violation.subject) or is_handled
        if is_handled:
            return
        if violation.operation == "subscribe to":
            subject, is_new, is_repeated = self._on_subscription(violation.subject)
            if is_new and subject not in self._refused:
                self._refused.append(subject)
            level = logging.DEBUG if is_repeated else logging.ERROR
            extra = log_fields(LogEvent.PERMISSION_DENIED, subject=subject)
            _log.log(level, 'the account may not subscribe to "%s"', subject, extra=extra)
        else:
            subject = violation.subject
            kind = ".".join(subject.split(".")[:_KIND_TOKENS])
            extra = log_fields(LogEvent.PERMISSION_DENIED, subject=subject)
            text = 'the account may not publish to "%s"; the message is lost'
            if subject.startswith(_INBOXES):
                text += ': an answer, perhaps beyond the number or the time that "allow_responses" of the user permits'
            self._log_throttle.write(logging.ERROR, kind, text, subject, extra=extra)

    def _as_sent(self, violation: PermissionViolation | None) -> PermissionViolation | None:
        """Return the violation with the subject that was sent to, where a server names the one that it mapped it to."""
        if violation is None or not self._mapped_from or violation.operation != "publish to":
            return violation
        subject = violation.subject
        if subject.startswith(_API_SENT):
            return PermissionViolation("publish to", self._mapped_from + subject.removeprefix(_API_SENT))
        if subject.startswith("$kv.") and _DOMAIN_SENT.fullmatch(self._mapped_from):
            return PermissionViolation("publish to", self._mapped_from + subject)
        return violation

    def raise_refused_subscription(self) -> None:
        """Raise the oldest refused subscription, once.

        Raises:
            PermissionDenied: there is one.
        """
        if self._refused:
            raise PermissionDenied("subscribe to", self._refused.pop(0))
