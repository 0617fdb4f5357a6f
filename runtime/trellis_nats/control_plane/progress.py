"""How far a service is with joining a deployment: for its log, and for its health."""

from __future__ import annotations

import logging
from datetime import timedelta
from time import monotonic
from typing import Final

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.control_plane.answers import Waiting
from trellis_nats.health.report import CheckResult

__all__ = ["Progress"]

_log = logging.getLogger(__name__)

_CHECK: Final = "control-plane"
_LOG_EVERY: Final = 60.0
"""Seconds between two lines about the same state."""


class Progress:
    """What the service waits for, since when, or why it was refused."""

    def __init__(self, contract_id: str) -> None:
        self._contract_id = contract_id
        self._waiting: Waiting | None = None
        self._since = 0.0
        self._logged_at = 0.0
        self._refused: str | None = None
        self._remark: str | None = None
        """What is not as it should be, although the service is connected."""

    def wait(self, waiting: Waiting) -> None:
        """Take a state in which the service waits, and log it when it is new, and then each minute."""
        at = monotonic()
        is_new = self._waiting is None or self._waiting.reason != waiting.reason
        if is_new:
            self._since = at
        self._waiting, self._refused = waiting, None
        if is_new or at - self._logged_at >= _LOG_EVERY:
            self._logged_at = at
            _log.log(
                logging.WARNING if waiting.needs_admin else logging.INFO,
                "%s waits to join the deployment, for %.0f s now: %s: %s",
                self._contract_id,
                at - self._since,
                waiting.reason,
                waiting.text,
                extra=log_fields(LogEvent.JOIN_WAITS),
            )

    def join(self) -> None:
        """Take note that the service may connect."""
        waiting, self._waiting, self._refused = self._waiting, None, None
        waited = f" after {monotonic() - self._since:.0f} s" if waiting is not None else ""
        _log.info(
            "%s has joined the deployment%s", self._contract_id, waited, extra=log_fields(LogEvent.JOINED)
        )

    def restore(self) -> None:
        """Take note that the service is connected, whatever the control plane says about joining again."""
        self._waiting = self._refused = None

    def refuse(self, error: Exception) -> None:
        """Take note that the control plane refuses a service that was part of the deployment."""
        is_new, self._waiting, self._refused = self._refused != str(error), None, str(error)
        _log.log(
            logging.ERROR if is_new else logging.DEBUG,
            "%s cannot join the deployment again: %s",
            self._contract_id,
            error,
            extra=log_fields(LogEvent.JOIN_REFUSED),
        )

    def remark(self, text: str) -> None:
        """Take note of what is not as it should be until the process ends, and log it once."""
        if text != self._remark:
            self._remark = text
            _log.warning("%s: %s", self._contract_id, text, extra=log_fields(LogEvent.BINDING_CHANGED))

    def check(self) -> CheckResult:
        """Return the state as a health check."""
        waiting, error = self._waiting, self._refused or self._remark
        if waiting is not None:
            error = f"waits for {monotonic() - self._since:.0f} s: {waiting.reason}: {waiting.text}"
        is_connectable = waiting is None and self._refused is None
        return CheckResult(
            name=_CHECK,
            ok=error is None,
            latency=timedelta(0),
            error=error,
            critical=not is_connectable,
            needed=not is_connectable,
        )
