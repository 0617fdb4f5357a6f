"""What a run says: results on stdout, messages on stderr, in the format that was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import TextIO

from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.findings import Findings, Format, PackageState, Said
from trellis_codegen.cli.formats import github, plain
from trellis_codegen.problems import Severity

__all__ = ["ExitCode", "Report"]


class Report:
    """Says things as they come, or collects them for one document."""

    def __init__(self, form: Format = Format.TEXT, *, quiet: bool = False) -> None:
        """Print in `form`; with `quiet`, leave out warnings and what is only said for comfort."""
        self._form = form
        self._quiet = quiet
        self._said = Said()

    @property
    def is_text(self) -> bool:
        """Whether people read this: a diff may be printed too."""
        return self._form in (Format.TEXT, Format.GITHUB)

    def problems(self, findings: Findings) -> None:
        """Say what is wrong with one document."""
        if self._quiet:
            errors = [each for each in findings.problems if each.severity is Severity.ERROR]
            findings = replace(findings, problems=tuple(errors))
        self._said.findings.append(findings)
        if self._form is Format.TEXT:
            colour = _has_colour(sys.stderr)
            _say(
                sys.stderr, (plain.problem_text(findings, each, colour=colour) for each in findings.problems)
            )
        elif self._form is Format.GITHUB:
            _say(sys.stdout, (github.problem_annotation(findings, each) for each in findings.problems))

    def refusal(self, message: str) -> None:
        """Say why nothing could be done."""
        self._said.refusals.append(message)
        if self._form is Format.TEXT:
            _say(sys.stderr, [f"error: {message}"])
        elif self._form is Format.GITHUB:
            _say(sys.stdout, [github.refusal_annotation(message)])

    def package(self, state: PackageState) -> None:
        """Say how a package differs from what would be generated; nothing of one that is up to date."""
        self._said.packages.append(state)
        if not state.is_drift or not state.changes:
            return
        if self._form is Format.GITHUB:
            _say(sys.stdout, github.drift_annotations(state))
        self.note(plain.drift_text(state))

    def plan(self, state: PackageState) -> None:
        """Say what a run would do to a package."""
        self._said.packages.append(state)
        if self.is_text:
            self.result([plain.plan_text(state)])

    def result(self, lines: Iterable[str]) -> None:
        """Print lines of a result; only people get them."""
        if self.is_text:
            _say(sys.stdout, lines)

    def diff(self, lines: Iterable[str]) -> None:
        """Print a unified diff; only people get it."""
        if self.is_text:
            colour = self._form is Format.TEXT and _has_colour(sys.stdout)
            _say(sys.stdout, (plain.diff_line(line, colour=colour) for line in lines))

    def note(self, text: str) -> None:
        """Say something that only a person wants to know, and only without `--quiet`."""
        if self.is_text and not self._quiet:
            _say(sys.stderr, [text])

    def flush(self) -> None:
        """Let readers of a pipe see what has been said."""
        sys.stdout.flush()
        sys.stderr.flush()

    def finish(self) -> None:
        """Print the document, in the formats that are one."""
        if self._form is Format.JSON:
            from trellis_codegen.cli.formats.document import json_document  # noqa: PLC0415 - only who asks pays

            sys.stdout.write(json_document(self._said))
        elif self._form is Format.SARIF:
            from trellis_codegen.cli.formats.sarif import sarif_log  # noqa: PLC0415 - likewise

            sys.stdout.write(sarif_log(self._said))


def _has_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal whose user wants colours: https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _say(stream: TextIO, lines: Iterable[str]) -> None:
    stream.writelines(f"{line}\n" for line in lines)
