"""Mode `keys`: an authority that knows its callers from a file."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import monotonic, time
from typing import Final, NamedTuple

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.printable import printable
from trellis_nats._support.threads import run_in_thread
from trellis_nats.auth.authority import Admitted
from trellis_nats.auth.caller import Caller, CallerKind
from trellis_nats.auth.callers_format import CALLERS_SIZE_MAX, CallerEntry, parse_callers
from trellis_nats.auth.ed25519 import require_ed25519
from trellis_nats.auth.owned_files import find_fault_of_rules, read_owned, stamp_of
from trellis_nats.auth.request_proof import RequestProof
from trellis_nats.auth.session_key import inbox_prefix_of
from trellis_nats.errors import AuthError, ConfigurationError

__all__ = ["CallersFile", "read_callers"]

_log = logging.getLogger(__name__)

_LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the file."""
_SETTLED_AFTER: Final = 0.1
"""Seconds after a change during which another one could leave the same stamp: file systems count time in steps of up to 10 ms."""
_REFUSED: Final[Mapping[CallerKind, str]] = {
    "service": "service_disabled",
    "user": "user_inactive",
    "device": "device_activation_revoked",
}
"""The reasons of the platform for a caller that is known and may not call at all."""

_NAMES_MAX: Final = 10
"""Names of each kind of change that a line of the log has."""


class _Known(NamedTuple):
    caller: Caller
    is_disabled: bool
    inbox_prefix: str


def read_callers(path: Path, known: Iterable[str] = ()) -> tuple[list[CallerEntry], tuple[int, ...]]:
    """Return the entries of a file of callers, and its stamp; `known` are keys that need no check.

    Raises:
        ConfigurationError: it cannot be read, can be changed by other users, or has errors; all of those are listed.
    """
    what = "the file of callers"
    data, stamp = read_owned(path, what=what, size_max=CALLERS_SIZE_MAX, find_fault=find_fault_of_rules)
    return parse_callers(data, where=f"{what} {path}", known=frozenset(known)), stamp


class CallersFile:
    """The callers of a file: public keys, with what their holders may do. For `Options.callers`.

    The file is looked at once a second when requests arrive, and read again when it has changed: a key that was removed or
    disabled, and a capability that was taken away, are refused from then on. When the new version cannot be used, or the file
    is missing, the callers stay as they were, an error is logged once, and the health check `callers` fails.

    Only its owner may be able to change the file, who is the user of this process, or root. It has at most 10,000 keys. One
    object may serve several services, also in several threads.
    """

    def __init__(self, path: str | Path) -> None:
        """Read the file.

        Raises:
            ConfigurationError: it cannot be read, can be changed by other users, or has errors; all of those are listed. Or
                PyNaCl is not installed.
        """
        require_ed25519()
        self._path = Path(path).absolute()
        self._reading = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._problem: str | None = None
        self._known: Mapping[str, _Known] = {}
        self._look_at = 0.0
        self._read()

    def __repr__(self) -> str:
        return f"CallersFile({str(self._path)!r})"

    def __str__(self) -> str:
        count = len(self._known)
        return f"{count} key{'' if count == 1 else 's'} in {self._path}"

    async def judge(self, proof: RequestProof, capabilities: tuple[str, ...]) -> Admitted:
        """Return who a key belongs to, and whether its holder has all capabilities. See `Authority`.

        Raises:
            AuthError: the file does not have the key (`session_not_found`), or it is disabled.
        """
        await self._look()
        known = self._known.get(proof.session_key)
        if known is None:
            raise AuthError("session_not_found", {"sessionKey": proof.session_key})
        if known.is_disabled:
            error = AuthError(_REFUSED[known.caller.kind], {"sessionKey": proof.session_key})
            error.caller_name = known.caller.name
            raise error
        return Admitted(known.caller, known.caller.capabilities.issuperset(capabilities), known.inbox_prefix)

    async def check(self) -> str:
        """Return how many callers there are, for the health report.

        Raises:
            ConfigurationError: the file has changed and cannot be used.
        """
        await self._look()
        if self._problem is not None:
            raise ConfigurationError(self._problem)
        return self._describe()

    async def _look(self) -> None:
        at = monotonic()
        if at >= self._look_at:
            self._look_at = at + _LOOK_EVERY
            # In a thread: 10,000 keys take 0.07 s, and a network drive may not answer. Other requests go on meanwhile.
            await run_in_thread(self._refresh, None, name="trellis: file of callers")

    def _refresh(self, _: None) -> None:
        if self._reading.acquire(blocking=False):  # else another thread is reading it
            try:
                self._read_changed()
            finally:
                self._reading.release()

    def _read_changed(self) -> None:
        try:
            if self._problem is None and stamp_of(self._path.stat()) == self._stamp:
                return
        except OSError:
            pass  # `_read` says what it is
        before = self._known
        try:
            self._read()
        except ConfigurationError as error:
            problem = f"{error}; the callers stay as they were"
            if problem != self._problem:
                _log.error("%s", problem, extra=log_fields(LogEvent.CALLERS_KEPT))
            self._problem = problem
            return
        if self._problem is not None or self._known != before:
            text = "the file of callers %s was read again: %s; %s"
            changes = _describe_changes(before, self._known)
            _log.info(
                text, self._path, self._describe(), changes, extra=log_fields(LogEvent.CALLERS_RELOADED)
            )
        self._problem = None

    def _describe(self) -> str:
        disabled = sum(known.is_disabled for known in self._known.values())
        return f"keys: {len(self._known)}, disabled: {disabled}"

    def _read(self) -> None:
        began = time()
        entries, stamp = read_callers(self._path, self._known)
        self._known = {
            entry.key: _Known(
                Caller(
                    session_key=entry.key,
                    name=entry.name,
                    kind=entry.kind,
                    capabilities=frozenset(entry.capabilities),
                ),
                entry.disabled,
                inbox_prefix_of(entry.key),
            )
            for entry in entries
        }
        is_settled = abs(began - stamp[-1] / 1e9) > _SETTLED_AFTER
        self._stamp = stamp if is_settled else None


def _describe_changes(before: Mapping[str, _Known], after: Mapping[str, _Known]) -> str:
    """Name the callers whose entries differ, by what became of them."""
    both = [(before[key], after[key]) for key in before.keys() & after.keys() if before[key] != after[key]]
    kinds = {
        "added": [known for key, known in after.items() if key not in before],
        "removed": [known for key, known in before.items() if key not in after],
        "disabled": [new for old, new in both if new.is_disabled > old.is_disabled],
        "enabled": [new for old, new in both if new.is_disabled < old.is_disabled],
        "changed": [new for old, new in both if new.is_disabled == old.is_disabled],
    }
    return (
        "; ".join(f"{kind}: {_list_names(callers)}" for kind, callers in kinds.items() if callers)
        or "no changes"
    )


def _list_names(callers: Iterable[_Known]) -> str:
    names = sorted(printable(known.caller.name) for known in callers)
    more = f" and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else ""
    return ", ".join(names[:_NAMES_MAX]) + more
