"""Which version of a contract a resource follows: written into its metadata, so that an older process changes nothing back. Pure.

Only resources of one service are marked: its consumers, buckets and stores. The streams that services share follow no contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, TypeAlias, cast

from pydantic import JsonValue

from trellis_nats.clock import timestamp
from trellis_nats.contract import Contract

__all__ = ["Relation", "relate", "stamp"]

Relation: TypeAlias = Literal["unmarked", "same", "older", "newer"]
"""How a contract relates to the one that a resource follows: `older` if a newer version has set the resource since."""

_CONTRACT: Final = "trellis.contract"
_DIGEST: Final = "trellis.digest"
_GENERATOR: Final = "trellis.generator"
_SINCE: Final = "trellis.since"
_BEFORE: Final = "trellis.before"
"""The digests of the versions before, newest first, with spaces between them."""
_OF_SERVER: Final = "_nats."
_REMEMBERED: Final = 20
"""Versions. A digest has 43 characters, and a server takes 128 KiB of metadata."""


def relate(config: Mapping[str, object], contract: Contract) -> Relation:
    """Return how a contract relates to the one that an existing resource follows."""
    metadata = _metadata(config)
    digest = metadata.get(_DIGEST)
    if not digest:
        return "unmarked"
    if digest == contract.digest:
        return "same"
    return "older" if contract.digest in metadata.get(_BEFORE, "").split() else "newer"


def stamp(config: Mapping[str, object], contract: Contract, at: datetime) -> dict[str, JsonValue]:
    """Return the metadata of a resource that follows a contract from now on. What others wrote is kept.

    An update without metadata erases it, so each update needs this. What the server adds is left to it.
    """
    metadata = _metadata(config)
    kept = {name: value for name, value in metadata.items() if not name.startswith(_OF_SERVER)}
    digest = kept.get(_DIGEST)
    if digest == contract.digest:
        return {**kept}
    known = [digest, *kept.get(_BEFORE, "").split()] if digest else []
    before = [each for each in known if each != contract.digest][:_REMEMBERED]
    marks: dict[str, JsonValue] = {
        _CONTRACT: contract.id,
        _DIGEST: contract.digest,
        _GENERATOR: contract.generator,
        _SINCE: timestamp(at),
        _BEFORE: " ".join(before),
    }
    return {**kept, **marks}


def _metadata(config: Mapping[str, object]) -> dict[str, str]:
    metadata = config.get("metadata")
    entries = cast("dict[object, object]", metadata) if isinstance(metadata, dict) else {}
    return {str(name): str(value) for name, value in entries.items()}
