"""The servers of several versions that `make test` installs."""

from __future__ import annotations

from pathlib import Path

__all__ = ["VERSIONS", "binary_of"]

ROOT = Path(__file__).parents[2]

VERSIONS = [
    line.strip()
    for line in (ROOT / "constraints/servers.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]
"""The older ones; the newest is the one in the environment."""


def binary_of(version: str) -> Path:
    """Where `make test` put the server of a version."""
    return ROOT / ".venv/servers" / version / "bin/nats-server"
