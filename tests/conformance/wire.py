"""The recorded frames of the other runtimes."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

import pytest

from tests.conformance.folders import SHARED

__all__ = ["NEEDS_RECORDINGS", "WIRE", "Recorded", "cases_of", "frames_of", "without_extensions"]

WIRE: Final = SHARED / "wire"

NEEDS_RECORDINGS: Final = pytest.mark.skipif(
    not WIRE.is_dir(), reason="shared/conformance/wire is not next to the repository"
)

_EXTENSIONS: Final = {"trellis-contract-digest"}
"""Headers that other runtimes neither send nor read."""


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
    """Return the messages of a case, in wire order; subscriptions, HTTP requests and the like are left out."""
    return [
        Recorded(
            direction=cast("str", frame["direction"]),
            subject=cast("str", frame["subject"]),
            reply=cast("str | None", frame.get("reply")),
            headers=cast("dict[str, str]", frame.get("headers", {})),
            body=_body(frame),
        )
        for frame in _read(file)
        if frame["case"] == case and "op" not in frame and "http" not in frame
    ]


def without_extensions(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that other runtimes know, of a message that ours sent."""
    return {name: text for name, text in headers.items() if name not in _EXTENSIONS}


def cases_of(file: str) -> list[str]:
    """Return the names of the cases of a file, in the order in which they were recorded."""
    return list(dict.fromkeys(cast("str", frame["case"]) for frame in _read(file)))


def _read(file: str) -> list[dict[str, object]]:
    document = cast("dict[str, list[dict[str, object]]]", json.loads((WIRE / file).read_text()))
    return document["frames"]


def _body(frame: dict[str, object]) -> bytes:
    if "body_b64" in frame:
        return base64.b64decode(cast("str", frame["body_b64"]))
    parts = cast("list[str | dict[str, object]]", frame.get("body_concat", [frame.get("body_utf8", "")]))
    return "".join(map(_expand, parts)).encode()


def _expand(part: str | dict[str, object]) -> str:
    return part if isinstance(part, str) else cast("str", part["repeat"]) * cast("int", part["count"])
