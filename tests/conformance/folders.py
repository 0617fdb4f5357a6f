"""Where the vectors are: in the repository, and those shared by all Trellis tools where they are next to it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["CASES", "FOLDERS", "SHARED"]

SHARED: Final = Path(__file__).parents[2].parent / "shared/conformance"
CASES: Final = SHARED.parent / "cases"
"""Inputs that failed once. A plain clone does not have them."""

FOLDERS: Final = [folder for folder in (Path(__file__).parent / "vectors", SHARED) if folder.is_dir()]
"""A plain clone has the first one only."""
