"""Errors in the program or its settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trellis_nats.errors.base import TrellisError

__all__ = [
    "ConfigurationError",
    "HandlerConflict",
    "IncompatiblePackage",
    "PermissionsMissing",
    "ProvisioningError",
]


_REMEDY: Final = (
    "trellis_nats.permissions(…) lists what each role needs, and writes it as server configuration"
)


class ConfigurationError(TrellisError):
    """The program or its settings are wrong; retrying does not help."""


class IncompatiblePackage(ConfigurationError):
    """The generated package needs another version of the runtime."""


class HandlerConflict(ConfigurationError):
    """The surface already has a handler, or its worker was started before the handler was registered."""


class ProvisioningError(ConfigurationError):
    """Streams, consumers or buckets that the contract needs are missing or differ. The text has a line for each problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
        """One sentence for each resource."""


class PermissionsMissing(ConfigurationError):
    """The account lacks permissions that the service needs. Nothing was started. The text has a line for each of them."""

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__("\n".join(("the account lacks permissions:", *missing, _REMEDY)))
        self.missing = tuple(missing)
        """For each missing permission: the operation, the subject, and its purpose."""
