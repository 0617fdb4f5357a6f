"""Fixtures and hooks of every test."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["trellis_nats.testing.plugin"]

# A shell that runs in the background (`make test &`, some CI systems) ignores SIGINT, and its children inherit that.
# With a handler here, the processes that tests start and interrupt begin with the default action.
signal.signal(signal.SIGINT, signal.default_int_handler)

# In memory, the files of a server's streams take half of its processor time, and never wait for a disk. What tests
# keep for a look after a failure, `tmp_path`, stays on the disk. A TMPDIR that is set already is respected.
_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory is made in it, as in any TMPDIR
if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 2**30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)

# A property test is not a benchmark: a machine under load fails no test.
settings.register_profile("trellis", deadline=None, max_examples=30)
settings.register_profile("thorough", deadline=None, max_examples=300)
"""For `make faults`, with `--hypothesis-profile`."""
settings.load_profile("trellis")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the garbage collector look at none of what is imported and collected, which stays: a sixth of the time of that."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates in captured text: a test may log them, and pytest-xdist sends reports as UTF-8."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report
