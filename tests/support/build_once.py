"""Builds what several tests read, once for all workers of a test run."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["build_once"]


def build_once(
    factory: pytest.TempPathFactory, worker: str, name: str, build: Callable[[Path], object]
) -> Path:
    """Return a folder that `build` has filled: in this process, or in another worker of pytest-xdist.

    Args:
        factory: the fixture `tmp_path_factory`.
        worker: the fixture `worker_id`.
        name: the name of the folder, unique within the test run.
        build: fills the folder; if it raises, the next worker tries again.
    """
    base = factory.getbasetemp()
    shared = base if worker == "master" else base.parent
    folder, done = shared / name, shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir(exist_ok=True)
            build(folder)
            done.touch()
    return folder
