"""Reads the bytes of a manifest."""

from __future__ import annotations

import sys
from pathlib import Path

from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.contract.limits import MAX_SIZE_BYTES

__all__ = ["STDIN", "read_manifest_bytes"]

STDIN = Path("-")
"""Reads the manifest from standard input."""


def read_manifest_bytes(manifest: Path, reporter: Reporter) -> bytes | None:
    """Return the bytes of a file or of standard input, at most one more than a contract may have; None if it cannot be read, which is reported."""
    try:
        if manifest == STDIN:
            return sys.stdin.buffer.read(MAX_SIZE_BYTES + 1)
        with manifest.open("rb") as file:
            return file.read(MAX_SIZE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        reporter.report_refusal(f"{manifest}: cannot read the manifest: {(reason or str(error)).lower()}")
        return None
