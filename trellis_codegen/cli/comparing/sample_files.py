"""Reads the folder of samples that `trellis audit export` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, NoReturn, cast

from pydantic import JsonValue

from trellis_codegen.breaking.samples import Sample

__all__ = ["SamplesRefused", "read_samples"]

_VERSION: Final = 1
_MAX_BYTES: Final = 8 * 1024 * 1024
"""A payload is at most as large as a message, a megabyte by default; written with indents it may be several times as large."""
_MEMBERS: Final = {"contract": str, "kind": str, "name": str}


class SamplesRefused(Exception):
    """The folder, or a file of it, cannot be read."""


def read_samples(folder: Path) -> list[Sample]:
    """Return the samples of a folder, by the names of their files. Samples of another kind than `payload` are left out.

    Raises:
        SamplesRefused: there is no such folder, or a file is not a sample; the message names it.
    """
    if not folder.is_dir():
        raise SamplesRefused(f"--samples {folder} is not a folder; trellis audit export writes one")
    samples = [_read_sample(path) for path in sorted(folder.glob("*.json"))]
    return [sample for sample in samples if sample is not None]


def _read_sample(path: Path) -> Sample | None:
    if not path.is_file():  # opening a pipe would wait
        raise SamplesRefused(f"{path} is not a file")
    try:
        with path.open("rb") as opened:
            data = opened.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise SamplesRefused(f"{path} is larger than {_MAX_BYTES // 1024 // 1024} MiB")
        body: object = json.loads(data, parse_constant=_refuse_constant)
    except OSError as error:
        raise SamplesRefused(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SamplesRefused(f"{path} is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise SamplesRefused(f"{path} is not a sample of trellis audit export")
    members = cast("dict[str, JsonValue]", body)
    if members.get("version") != _VERSION:
        raise SamplesRefused(
            f"{path} is not a sample of version {_VERSION}, which this version of trellis-gen reads; export it again"
        )
    wrong = [name for name, kind in _MEMBERS.items() if not isinstance(members.get(name), kind)]
    if wrong or "payload" not in members:
        raise SamplesRefused(
            f"{path} is not a sample of trellis audit export: it lacks {', '.join(wrong or ['payload'])}"
        )
    if members["kind"] != "payload":
        return None
    return Sample(
        file=path.as_posix(),
        contract=str(members["contract"]),
        queue=str(members["name"]),
        digest=str(members["digest"]) if members.get("digest") else None,
        payload=members["payload"],
    )


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON value")
