"""`trellis-gen facade --watch`: generates again whenever a manifest or the configuration is saved.

The files are polled a few times a second. That costs nothing measurable, and unlike notifications it works on every file
system, in containers and over mounts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from trellis_codegen.cli.configuration import FILE_NAME
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.facade import find_targets
from trellis_codegen.cli.formats.plain import describe_changes
from trellis_codegen.cli.generation import generate
from trellis_codegen.cli.other_contracts import list_other_paths
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.cli.requests import Mode
from trellis_codegen.cli.targets import Choices, Target

__all__ = ["SaveDetector", "watch"]

_PAUSE_SECONDS = 0.2
"""The time between two polls. A file counts as saved if two polls saw the same, so this is the debounce as well."""

FileStamp: TypeAlias = tuple[int, int, int] | None
"""The modification time (ns), size and inode of a file; None if it does not exist."""


class SaveDetector:
    """Detects which files were saved, once each has stopped changing."""

    def __init__(self, read_stamp: Callable[[Path], FileStamp]) -> None:
        self._read_stamp = read_stamp
        self._known: dict[Path, FileStamp] = {}
        self._seen: dict[Path, FileStamp] = {}

    def add(self, paths: Iterable[Path]) -> None:
        """Watch these files too; a save is a change from how they are now."""
        for path in sorted({*paths} - self._known.keys()):
            self._known[path] = self._seen[path] = self._read_stamp(path)

    def find_saved(self) -> list[Path]:
        """Return the files that differ from when they were last returned, and that two polls saw the same.

        A file that does not exist is still being saved: editors move a new one to its place.
        """
        saved: list[Path] = []
        for path, known in self._known.items():
            stamp = self._read_stamp(path)
            if stamp is not None and stamp != known and stamp == self._seen[path]:
                saved.append(path)
            self._seen[path] = stamp
        self._known.update((path, self._seen[path]) for path in saved)
        return saved


def watch(choices: Choices, *, quiet: bool) -> ExitCode:
    """Generate now and after every save, until Ctrl-C. Returns only if there is nothing to watch."""
    reporter = Reporter(quiet=quiet)
    detector = SaveDetector(_read_stamp)
    configuration = _find_configuration_file()
    saved: list[Path] = [configuration]
    targets: tuple[Target, ...] = ()
    taken: dict[Path, Path] = {}
    while True:
        if configuration in saved:
            targets = find_targets(choices, reporter) or targets
            if not targets:
                return ExitCode.USAGE
            detector.add([configuration, *(path for target in targets for path in _list_inputs(target))])
            saved = [target.manifest for target in targets]
            taken.clear()
            names = ", ".join(target.manifest.as_posix() for target in targets)
            reporter.print_note(f"watching {names}; press Ctrl-C to stop")
        for target in targets:
            if not {*saved}.isdisjoint(_list_inputs(target)):
                _generate(target, reporter, taken)
        reporter.flush()
        saved = _wait_for_saves(detector)


def _list_inputs(target: Target) -> list[Path]:
    """Return the files that a target is generated from."""
    return [target.manifest, *list_other_paths(target.others)]


def _wait_for_saves(detector: SaveDetector) -> list[Path]:
    while True:
        time.sleep(_PAUSE_SECONDS)
        if saved := detector.find_saved():
            return saved


def _find_configuration_file() -> Path:
    here = Path.cwd()
    files = (folder / FILE_NAME for folder in (here, *here.parents))
    return next((file for file in files if file.exists()), here / FILE_NAME)


def _generate(target: Target, reporter: Reporter, taken: dict[Path, Path]) -> None:
    start = time.perf_counter()
    outcome = generate(target, Mode.WRITE, reporter, taken=taken)
    seconds = time.perf_counter() - start
    if outcome.package is not None:
        changes = describe_changes(outcome.package)
        reporter.print_result([f"{target.manifest.as_posix()}: {changes} in {seconds:.2f} s"])


def _read_stamp(path: Path) -> FileStamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
