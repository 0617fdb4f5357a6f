"""What an error means for the person who ran a command: a sentence and an exit code."""

from __future__ import annotations

from trellis_nats import ConfigurationError, TrellisError

from trellis_admin.exits import ExitCode
from trellis_admin.manifests import InvalidManifest
from trellis_admin.packages import UnreadablePackage

__all__ = ["describe_failure"]


def describe_failure(error: Exception) -> tuple[str, ExitCode] | None:
    """Return the text for stderr and the exit code; None for an error that is a fault of the program."""
    match error:
        case UnreadablePackage() | ConfigurationError():
            return f"trellis: {error}", ExitCode.USAGE
        case InvalidManifest():
            return str(error), ExitCode.INVALID
        case TrellisError():
            return f"trellis: {error}", ExitCode.SERVER
        case _:
            return None
