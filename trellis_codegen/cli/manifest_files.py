"""Reads the bytes of a manifest."""

from __future__ import annotations

from pathlib import Path

from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.contract.limits import MAX_SIZE_BYTES

__all__ = ["read_manifest_bytes"]


def read_manifest_bytes(manifest: Path, reporter: Reporter) -> bytes | None:
    """Return the bytes of a file, at most one more than a contract may have; None if it cannot be read, which is reported."""
    try:
        with manifest.open("rb") as file:
            return file.read(MAX_SIZE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        reporter.report_refusal(f"{manifest}: cannot read the manifest: {(reason or str(error)).lower()}")
        return None
