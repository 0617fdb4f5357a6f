"""The output of a run: results on stdout, messages on stderr, in the chosen format."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TextIO

from trellis_codegen.cli.findings import Findings, PackageState, ProjectState, RunResult
from trellis_codegen.cli.formats import github, plain
from trellis_codegen.cli.requests import Format
from trellis_codegen.cli.warning_ignores import WarningIgnore, WarningIgnores
from trellis_codegen.problems import Problem, Severity
from trellis_codegen.rule_ids import Rule

__all__ = ["Reporter", "has_colour"]


class Reporter:
    """Prints at once in the formats for people, and one document at the end in the others."""

    def __init__(self, output_format: Format = Format.TEXT, *, quiet: bool = False) -> None:
        """Print in `output_format`; with `quiet`, errors and results only."""
        self._format = output_format
        self._quiet = quiet
        self._result = RunResult()
        self._ignores = WarningIgnores()

    @property
    def invalid(self) -> list[Findings]:
        """The documents with errors, so far."""
        return [findings for findings in self._result.findings if findings.errors]

    def ignore_warnings(self, entries: tuple[WarningIgnore, ...]) -> None:
        """Leave out the warnings that the project accepts, from now on."""
        self._ignores = WarningIgnores(entries, datetime.now(UTC).date())

    def find_unused_ignores(self) -> list[Problem]:
        """Return a warning for each entry that ignored nothing so far."""
        return [*self._ignores.find_unused()]

    def report_problems(self, findings: Findings) -> None:
        """Report the problems of one document, but the warnings that are ignored."""
        findings = self._ignores.apply(findings)
        if self._quiet:
            errors = [problem for problem in findings.problems if problem.severity is Severity.ERROR]
            findings = findings._replace(problems=tuple(errors))
        self._result.findings.append(findings)
        if self._format is Format.TEXT:
            colour = has_colour(sys.stderr)
            _print(
                sys.stderr,
                (plain.format_problem(findings, problem, colour=colour) for problem in findings.problems),
            )
        elif self._format is Format.GITHUB:
            _print(sys.stdout, (github.annotate_problem(findings, problem) for problem in findings.problems))

    def report_refusal(self, message: str) -> None:
        """Report why nothing was done."""
        self._result.refusals.append(message)
        if self._format is Format.TEXT:
            _print(sys.stderr, [f"error: {message}"])
        elif self._format is Format.GITHUB:
            _print(sys.stdout, [github.annotate_refusal(message)])

    def report_package(self, state: PackageState) -> None:
        """Report how a package differs from what would be generated; nothing if it is up to date or was written."""
        self._result.packages.append(state)
        if not state.is_drift or not state.changes:
            return
        if self._format is Format.GITHUB:
            _print(sys.stdout, github.annotate_drift(state))
        self.print_note(plain.format_drift(state))

    def report_plan(self, state: PackageState) -> None:
        """Report what a run would do to a package."""
        self._result.packages.append(state)
        if state.changes:
            self.print_result([plain.format_plan(state)])

    def report_project(self, state: ProjectState) -> None:
        """Report a new project; the formats for people print it on their own."""
        self._result.project = state

    def print_result(self, lines: Iterable[str]) -> None:
        """Print lines of a result, in the formats for people."""
        if self._is_for_people:
            _print(sys.stdout, lines)

    def print_diff(self, lines: Iterable[str]) -> None:
        """Print a unified diff, in the formats for people."""
        if self._is_for_people:
            colour = self._format is Format.TEXT and has_colour(sys.stdout)
            _print(sys.stdout, (plain.format_diff_line(line, colour=colour) for line in lines))

    def print_note(self, text: str) -> None:
        """Print a message for people, unless the run is quiet."""
        if self._is_for_people and not self._quiet:
            _print(sys.stderr, [text])

    def flush(self) -> None:
        """Hand everything printed so far to the reader of a pipe."""
        sys.stdout.flush()
        sys.stderr.flush()

    def finish(self) -> None:
        """Print the document, or for people one line: what was written, or that everything is up to date."""
        if self._format is Format.JSON:
            from trellis_codegen.cli.formats.document import (  # noqa: PLC0415 - only this format needs it
                render_json,
            )

            sys.stdout.write(render_json(self._result))
        elif self._format is Format.SARIF:
            from trellis_codegen.cli.formats.sarif import render_sarif  # noqa: PLC0415 - only this format needs it

            sys.stdout.write(render_sarif(self._result))
        else:
            for note in self._find_notes():
                self.print_note(note)

    def _find_notes(self) -> Iterator[str]:
        problems = [problem for findings in self._result.findings for problem in findings.problems]
        for findings in self._result.findings:
            if findings.unchecked:
                yield plain.describe_unchecked(findings)
        if problems:
            errors_first = sorted(problems, key=lambda problem: problem.severity is not Severity.ERROR)
            yield f"more: trellis-gen explain {' '.join(dict.fromkeys(problem.rule for problem in errors_first))}"
        if any(
            problem.rule == Rule.UNKNOWN_FIELD and problem.severity is Severity.WARNING
            for problem in problems
        ):
            yield "unknown fields are left out; with --strict, each is an error"
        if count := self._ignores.ignored:
            yield f"{count} warning{'s' * (count != 1)} ignored by [tool.trellis-gen.validate]"
        if summary := plain.summarize(self._result.packages):
            yield summary

    @property
    def _is_for_people(self) -> bool:
        return self._format in (Format.TEXT, Format.GITHUB)


def has_colour(stream: TextIO) -> bool:
    """Return whether to colour a stream: a terminal, unless NO_COLOR or TERM forbid it, or any stream with FORCE_COLOR."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _print(stream: TextIO, lines: Iterable[str]) -> None:
    stream.writelines(f"{line}\n" for line in lines)
