"""Where files are that can be read again from a server. It imports nothing: a shell that completes a name needs it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["default_folder"]


def default_folder() -> Path:
    """Return the folder in which the files of projections are, below the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(base) / "trellis" if base else Path.home() / ".cache" / "trellis"
