"""The folder of samples: one JSON file for each, whose name follows from its content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

__all__ = ["VERSION", "Sample", "write_samples"]

VERSION: Final = 1
"""The version of the files. It changes when a member is removed or means something else; members may be added."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One payload."""

    contract: str
    """The id of the contract."""
    digest: str
    """That of the contract that wrote it; empty where that is not known."""
    queue: str
    event: str
    """`created` or `retried`: the event that had the payload."""
    state: str
    """`waiting` or `dead`."""
    payload: JsonValue
    redacted: tuple[str, ...]
    """JSON pointers to what was replaced or left out."""
    valid: bool
    """Whether the contract that exported it reads the payload as it is here."""
    was_valid: bool
    """Whether it reads the payload as it is stored."""

    def render(self) -> str:
        """Return the text of its file."""
        body: dict[str, JsonValue] = {
            "version": VERSION,
            "contract": self.contract,
            "digest": self.digest or None,
            "kind": "payload",
            "name": self.queue,
            "event": self.event,
            "state": self.state,
            "valid": self.valid,
            "wasValid": self.was_valid,
            "redacted": list(self.redacted),
            "payload": self.payload,
        }
        return json.dumps(body, indent=2, ensure_ascii=True) + "\n"

    @property
    def file(self) -> str:
        """The name of its file. Samples that are equal after redaction are one file."""
        return f"{self.queue}-{hashlib.sha256(self.render().encode()).hexdigest()[:12]}.json"


def write_samples(folder: Path, samples: Sequence[Sample]) -> list[str]:
    """Write samples into a folder, and return the names of those that it did not have. Nothing is deleted.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    for sample in samples:
        path = folder / sample.file
        if sample.file in written or path.exists():
            continue
        part = folder / f".{sample.file}.{os.getpid()}.part"
        part.write_text(sample.render(), encoding="ascii")
        part.replace(path)
        written.append(sample.file)
    return written
