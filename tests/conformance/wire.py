"""The recorded frames of the other runtimes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final, cast

import pytest

from tests.conformance.folders import SHARED

__all__ = ["NEEDS_RECORDINGS", "Recorded", "frames_of"]

WIRE: Final = SHARED / "wire"

NEEDS_RECORDINGS: Final = pytest.mark.skipif(
    not WIRE.is_dir(), reason="shared/conformance/wire is not next to the repository"
)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One message."""

    direction: str
    """`client->service`, for example."""
    subject: str
    reply: str | None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes


def frames_of(file: str, case: str) -> list[Recorded]:
    """Return the messages of a case, in wire order; subscriptions and the like are left out."""
    document = cast("dict[str, list[dict[str, object]]]", json.loads((WIRE / file).read_text()))
    return [
        Recorded(
            direction=cast("str", frame["direction"]),
            subject=cast("str", frame["subject"]),
            reply=cast("str | None", frame.get("reply")),
            headers=cast("dict[str, str]", frame.get("headers", {})),
            body=cast("str", frame["body_utf8"]).encode(),
        )
        for frame in document["frames"]
        if frame["case"] == case and "op" not in frame
    ]
