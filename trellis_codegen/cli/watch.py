"""`trellis-gen facade --watch`: generates again whenever a manifest or the configuration is saved.

The files are looked at a few times a second, which costs nothing that can be measured and works on every file system,
in containers and over mounts, where notifications do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from trellis_codegen.cli.configuration import FILE_NAME
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.facade import configured
from trellis_codegen.cli.generation import Outcome, generate
from trellis_codegen.cli.reporting import Report
from trellis_codegen.cli.requests import Mode
from trellis_codegen.cli.targets import Choices, Target

__all__ = ["Saves", "watch"]

_PAUSE_SECONDS = 0.2
"""Between two looks. A file is taken for saved when two looks saw the same, so this is the debounce as well."""

Look: TypeAlias = tuple[int, int, int] | None
"""Time, size and number of a file; None for one that is not there."""


class Saves:
    """Notices which files were saved, once each has come to rest."""

    def __init__(self, look: Callable[[Path], Look]) -> None:
        self._look = look
        self._known: dict[Path, Look] = {}
        self._seen: dict[Path, Look] = {}

    def files(self, paths: Iterable[Path]) -> None:
        """Look after these files from now on, as they are now."""
        for path in sorted({*paths} - self._known.keys()):
            self._known[path] = self._seen[path] = self._look(path)

    def since_last_time(self) -> list[Path]:
        """Return the files that differ from when they were last returned, and are at rest.

        A file that is not there is not at rest: editors move a new one to its place.
        """
        saved: list[Path] = []
        for path, known in self._known.items():
            now = self._look(path)
            if now is not None and now != known and now == self._seen[path]:
                saved.append(path)
            self._seen[path] = now
        self._known.update((path, self._seen[path]) for path in saved)
        return saved


def watch(choices: Choices, *, quiet: bool) -> ExitCode:
    """Generate, and then again after every save, until the user has had enough (Ctrl-C).

    It ends by itself only when there is nothing to watch.
    """
    report = Report(quiet=quiet)
    saves = Saves(_look)
    configuration = _configuration_file()
    saved: list[Path] = [configuration]
    targets: tuple[Target, ...] = ()
    while True:
        if configuration in saved:
            targets = configured(choices, report) or targets
            if not targets:
                return ExitCode.USAGE
            saves.files([configuration, *(target.manifest for target in targets)])
            saved = [target.manifest for target in targets]
            report.note(
                f"watching {', '.join(target.manifest.as_posix() for target in targets)}; Ctrl-C ends it"
            )
        for target in targets:
            if target.manifest in saved:
                _generate(target, report)
        report.flush()
        saved = _next_saves(saves)


def _next_saves(saves: Saves) -> list[Path]:
    while True:
        time.sleep(_PAUSE_SECONDS)
        if saved := saves.since_last_time():
            return saved


def _configuration_file() -> Path:
    here = Path().absolute()
    files = (folder / FILE_NAME for folder in (here, *here.parents))
    return next((file for file in files if file.exists()), here / FILE_NAME)


def _generate(target: Target, report: Report) -> None:
    start = time.perf_counter()
    outcome = generate(target, Mode.WRITE, report, taken={})
    seconds = time.perf_counter() - start
    if outcome.folder is not None:
        report.result([f"{target.manifest.as_posix()}: {_changes(outcome)} in {seconds:.2f} s"])


def _changes(outcome: Outcome) -> str:
    folder = outcome.folder.as_posix() if outcome.folder else ""
    if not outcome.changes:
        return f"nothing to write in {folder}"
    deleted = [each.name for each in outcome.changes if each.change == "stale"]
    written = [
        each.name for each in outcome.changes if each.change != "stale" and not each.name.startswith(".")
    ]
    parts = [f"wrote {_listed(written)}" if written else "", f"deleted {_listed(deleted)}" if deleted else ""]
    return f"{' and '.join(part for part in parts if part)} in {folder}"


def _listed(names: list[str]) -> str:
    shown = 6
    rest = len(names) - shown
    return ", ".join(names) if rest <= 0 else f"{', '.join(names[:shown])} and {rest} more"


def _look(path: Path) -> Look:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino
