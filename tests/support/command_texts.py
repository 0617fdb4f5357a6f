"""Texts of the command `trellis`, compared with files, at a fixed time and with fixed ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

__all__ = ["ID", "NOW", "OTHER", "PREFIX", "WORKER", "ago", "check_text"]

FOLDER: Final = Path(__file__).parents[1] / "unit/admin/command_texts"
NOW: Final = datetime(2026, 11, 30, 14, 21, 8, 500_000, tzinfo=UTC)
ID: Final = "01M8KTHHQ2M9S346Q3D25VT4F5"
OTHER: Final = "01M8KTHH144A92176AP9112824"
PREFIX: Final = "trellis.jobs.orders-service.charge-payment"
WORKER: Final = "orders-58d4c9-7wtn"


def check_text(name: str, text: str) -> None:
    """Compare a text with its file. A file that does not exist is written, to be looked at and committed."""
    file = FOLDER / f"{name}.txt"
    if not file.exists():
        FOLDER.mkdir(exist_ok=True)
        file.write_text(text + "\n")
        raise AssertionError(f"{file} did not exist and is written: look at it")
    assert text + "\n" == file.read_text()


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)
