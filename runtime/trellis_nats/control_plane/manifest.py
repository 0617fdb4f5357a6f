"""The manifest of a generated package: a control plane asks for it when it does not know the contract yet."""

from __future__ import annotations

from importlib.resources import files

from pydantic import JsonValue

from trellis_nats.codec import decode_json
from trellis_nats.errors import ConfigurationError
from trellis_nats.runtime import Participant

__all__ = ["read_manifest"]

_FILE = "contract.json"


def read_manifest(participant: type[Participant]) -> JsonValue:
    """Return the manifest that the package of a generated class has; the class may be derived from it.

    Raises:
        ConfigurationError: the package does not have it.
    """
    package = next(each.__module__ for each in participant.__mro__ if "contract" in vars(each)).rpartition(
        "."
    )[0]
    try:
        return decode_json((files(package) / _FILE).read_bytes())
    except (OSError, ValueError, ImportError) as error:
        raise ConfigurationError(
            f"the control plane asks for the manifest of {participant.contract.id}, and package "
            f'"{package}" has no readable {_FILE}: install the package as trellis-gen wrote it'
        ) from error
