"""Errors in the program or its settings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar, Final

from trellis_nats.errors.base import TrellisError

__all__ = [
    "BlockNotEntered",
    "BootstrapFailed",
    "ConfigurationError",
    "HandlerConflict",
    "IncompatiblePackage",
    "PermissionsMissing",
    "ProvisioningError",
    "TimedeltaExpected",
    "WrongEventLoop",
]


_MAY_BE_MILLISECONDS: Final = 1000
_PERMISSIONS_REMEDY: Final = "`trellis permissions ROLE PACKAGE` prints what the account needs"


class ConfigurationError(TrellisError):
    """The program or its settings are wrong; retrying does not help.

    Remedy: Do what the text says, and start again.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.note_remedy()


class BlockNotEntered(ConfigurationError, AttributeError, TypeError):
    """What `connect` returns was used without the block that opens the connection, or for a second block; nothing was sent.

    Remedy: Write the block that the text names. In a program without an event loop, write
    `with OrdersService.connect_blocking(…) as service:`.
    """

    def __init__(self, statement: str, call: str, variable: str, *, is_second: bool = False) -> None:
        what = "connects once, for one block" if is_second else "connects only in a block"
        super().__init__(
            f"{call} {what}: write `{statement} {call} as {variable}:`, and use `{variable}` inside"
        )


class IncompatiblePackage(ConfigurationError):
    """The generated package needs another version of the runtime.

    Remedy: Upgrade the one that the text names, or generate the package again with the installed
    trellis-gen.
    """


class BootstrapFailed(ConfigurationError):
    """The control plane does not let the service join its deployment, or the URL does not lead to a control plane.

    Remedy: Do what the text says, and start again.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        """As on the wire: `unknown_service`, for example; or `invalid_response`, `redirected`, `tls`."""


class HandlerConflict(ConfigurationError):
    """The surface already has a handler, or its worker was started before the handler was registered.

    Remedy: Register each handler once, and all of them before `run()` or `start()`.
    """


class ProvisioningError(ConfigurationError):
    """Streams, consumers or buckets that the contract needs are missing or differ. The text has a line for each problem.

    Remedy: Run `trellis provision plan PACKAGE` to see the differences and `apply` to make them, or give
    the account the role `provisioner`.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
        """One sentence for each resource."""


class PermissionsMissing(ConfigurationError):
    """The account lacks permissions that the service needs. Nothing was started. The text has a line for each of them.

    Remedy: Give the account what the command prints that the text names.
    """

    def __init__(self, missing: Sequence[str], *, remedy: str = _PERMISSIONS_REMEDY) -> None:
        super().__init__("\n".join(("the account lacks permissions:", *missing, remedy)))
        self.missing = tuple(missing)
        """For each missing permission: the operation, the subject, and its purpose."""


class TimedeltaExpected(ConfigurationError, TypeError):
    """A duration is not a `timedelta`. Numbers are never taken as seconds: elsewhere they are milliseconds.

    Remedy: Pass a `timedelta`, such as `timedelta(seconds=5)`.
    """

    def __init__(self, name: str, value: object) -> None:
        super().__init__(f"{name}: a timedelta is expected, got {value!r:.100}{_suggest_timedelta(value)}")


def _suggest_timedelta(value: object) -> str:
    """Say what to write instead of a number. A large one may be meant as milliseconds, as on the wire and in manifests."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if abs(value) < _MAY_BE_MILLISECONDS:
        return f": write timedelta(seconds={value!r})"
    return f": write timedelta(milliseconds={value!r}) or timedelta(seconds={value!r}), whichever you mean"


def require_timedelta(name: str, value: object) -> None:
    """Check that an argument is a `timedelta`, or None.

    Raises:
        TimedeltaExpected: it is not.
    """
    if value is not None and not isinstance(value, timedelta):
        raise TimedeltaExpected(name, value)


def require_duration(name: str, value: timedelta | None, *, may_be_zero: bool) -> None:
    """Check that a setting is a `timedelta` that is not negative, or None.

    Raises:
        TimedeltaExpected: it is not a timedelta.
        ConfigurationError: it is negative, or zero where that is not allowed.
    """
    require_timedelta(name, value)
    if value is None or value > timedelta(0) or (may_be_zero and value == timedelta(0)):
        return
    rule = "must not be negative" if may_be_zero else "must be positive"
    raise ConfigurationError(f"{name} {rule}, got {value.total_seconds():g} s")


def require_kind(name: str, value: object, kind: type | tuple[type, ...], what: str) -> None:
    """Check that a setting is of a kind. A bool does not count as a number.

    Raises:
        ConfigurationError: it is not; the text says `what` is expected, and does not show the value.
    """
    is_other_bool = isinstance(value, bool) and kind is not bool
    if is_other_bool or not isinstance(value, kind):
        raise ConfigurationError(f"{name}: {what} is expected, got a {type(value).__name__}")


def require_text(name: str, value: object) -> None:
    """Check that an argument is a text.

    Raises:
        ConfigurationError: it is not.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"{name}: a text is expected, got {value!r:.100}")


class WrongEventLoop(ConfigurationError, RuntimeError):
    """A call that must run on the event loop which connected runs elsewhere. Nothing was sent.

    Remedy: Use `blocking.run(…)` from other threads, `await` on the event loop that connected, and
    connect again after a fork.
    """

    OTHER: ClassVar[str] = (
        "the call does not run on the event loop that connected; nothing was sent. From another thread or event loop, use "
        "`blocking.run(coroutine)` of the service or client, or asyncio.run_coroutine_threadsafe(coroutine, loop) with the "
        "loop that connected"
    )
    SAME: ClassVar[str] = (
        "`blocking.run` is for other threads; nothing was sent. On the event loop that connected, use await"
    )
    ENDED: ClassVar[str] = (
        "the event loop that connected is no longer running; nothing was sent. Connect again on a running event loop"
    )
    FORKED: ClassVar[str] = (
        "this process was forked from the one that connected, and its event loop does not run here; nothing was sent. "
        "Connect in this process"
    )
