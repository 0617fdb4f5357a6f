"""`trellis-gen breaking`: compares two versions of contracts, and says which change breaks whom."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from trellis_codegen.breaking.comparison import ModelFailed, compare_contracts
from trellis_codegen.breaking.explaining import explain_rule, list_rules, summarize_rule
from trellis_codegen.breaking.findings import Finding
from trellis_codegen.breaking.rules.grades import Grade
from trellis_codegen.breaking.samples import Sample, find_refused_samples
from trellis_codegen.breaking.surfaces.usages import list_usages
from trellis_codegen.cli.choosing_manifests import explain_no_contract
from trellis_codegen.cli.comparing.formats import document, github, junit, sarif, text
from trellis_codegen.cli.comparing.ignores import apply_ignores
from trellis_codegen.cli.comparing.report import Comparison, Side, fails, locate_findings
from trellis_codegen.cli.comparing.requests import ComparisonFormat, ComparisonRequest, Show
from trellis_codegen.cli.comparing.sample_files import SamplesRefused, read_samples
from trellis_codegen.cli.comparing.settings import Ignore, Settings
from trellis_codegen.cli.comparing.sources import GIT, Source, SourceMissing, SourceRefused, read_source
from trellis_codegen.cli.configuration import Configuration, ConfigurationInvalid, find_configuration
from trellis_codegen.cli.documents import read_contract
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.findings import Findings
from trellis_codegen.cli.reporter import Reporter, has_colour
from trellis_codegen.cli.requests import Format
from trellis_codegen.contract.digest import compute_digest
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.positions import locate
from trellis_codegen.contract.reading import Reading
from trellis_codegen.problems import Problem, did_you_mean
from trellis_codegen.schemas.checking import check_schema

__all__ = ["explain", "print_rules", "run"]

_NOTHING = (
    "nothing to compare with: name OLD and NEW, as in trellis-gen breaking git:HEAD contracts/orders.json (a "
    'file alone is NEW; git:origin/main is that branch), or write against = "git:origin/main" under [tool.trellis-gen.breaking] in pyproject.toml'
)


def explain(rule: str) -> ExitCode:
    """Print what a rule means."""
    found = explain_rule(rule)
    if found is None:
        hint = did_you_mean(rule, list_rules())
        sys.stderr.write(f'error: there is no rule "{rule}"{f"; {hint}" if hint else ""}\n')
        return ExitCode.USAGE
    sys.stdout.write(f"{found}\n")
    return ExitCode.OK


def print_rules() -> ExitCode:
    """Print every rule with what it is about."""
    sys.stdout.writelines(f"{rule}: {summarize_rule(rule)}\n" for rule in list_rules())
    return ExitCode.OK


def run(request: ComparisonRequest) -> ExitCode:
    """Compare what the request and the configuration name."""
    reporter = Reporter(_choose_problem_format(request.format), quiet=True)
    try:
        found = find_configuration(Path())
    except ConfigurationInvalid as error:
        reporter.report_problems(error.findings)
        refused = _Run(request, Settings(), reporter, refusals=[f"{error.findings.file} has errors"])
        refused.finish()
        return ExitCode.USAGE
    comparing = _Run(request, found.breaking if found else Settings(), reporter)
    code = comparing.compare_all(_choose_pairs(request, found))
    comparing.finish()
    return code


def _choose_problem_format(chosen: ComparisonFormat) -> Format:
    """Return how the problems of an invalid contract are printed."""
    return Format.TEXT if chosen is ComparisonFormat.JUNIT else Format(chosen.value)


def _choose_pairs(request: ComparisonRequest, found: Configuration | None) -> list[tuple[str, str]] | str:
    """Return OLD and NEW of each comparison; else why there is none. A revision alone is OLD, anything else alone is NEW."""
    against = found.breaking.against if found else None
    match request.sources:
        case (old, new):
            return [(old, new)]
        case (one,) if not one.startswith(GIT):
            return [(against, one)] if against else _NOTHING
        case (one,):
            against = one
        case _:
            pass
    if against is None:
        return _NOTHING
    targets = found.targets if found else ()
    return [(against, target.manifest.as_posix()) for target in targets] or explain_no_contract(
        found, "OLD and NEW"
    )


@dataclass(slots=True)
class _Run:
    """One run, over one or several contracts."""

    request: ComparisonRequest
    settings: Settings
    reporter: Reporter
    comparisons: list[Comparison] = field(default_factory=list[Comparison])
    refusals: list[str] = field(default_factory=list[str])
    used: set[Ignore] = field(default_factory=set[Ignore])
    samples: list[Sample] = field(default_factory=list[Sample])

    def compare_all(self, pairs: list[tuple[str, str]] | str) -> ExitCode:
        """Run every comparison, also after one that failed; the greatest exit code is that of the run."""
        if isinstance(pairs, str):
            self._refuse(pairs)
            return ExitCode.USAGE
        if self.request.samples is not None:
            try:
                self.samples = read_samples(self.request.samples)
            except SamplesRefused as error:
                self._refuse(str(error))
                return ExitCode.USAGE
            if not self.samples:
                self._note(f"{self.request.samples} has no samples")
        code = max([self._compare(old, new) for old, new in pairs], default=ExitCode.OK)
        if self.request.prune_ignores:
            self.comparisons.clear()
        if code >= ExitCode.USAGE:
            return code
        if self.request.prune_ignores:
            return self._list_unused()
        self._warn_about_unused()
        return code

    def _compare(self, old: str, new: str) -> ExitCode:
        try:
            after = read_source(new, path=_find_path(old))
            before = read_source(old, path=after.path)
        except SourceRefused as error:
            self._refuse(str(error))
            return ExitCode.USAGE
        except SourceMissing as error:
            self._note(str(error))
            return ExitCode.OK
        sides = self._read(before), self._read(after)
        if sides[0] is None or sides[1] is None:
            return self._count_invalid(before if sides[0] is None else after)
        return self._judge((before, sides[0]), (after, sides[1]))

    def _read(self, source: Source) -> Reading | None:
        """Return a valid contract whose schemas are valid too; else report why not."""
        reading = read_contract(Path(source.name), source.data, self.reporter, strict=False)
        if reading is None:
            return None
        problems = [
            problem
            for name, schema in (reading.manifest.schemas or {}).items()
            for problem in check_schema(schema, ("schemas", name))
        ]
        if problems:
            self._report(source, reading, problems)
            return None
        return reading

    def _count_invalid(self, source: Source) -> ExitCode:
        self.refusals.append(f"{source.name}: the contract has errors")
        return ExitCode.INVALID

    def _report(self, source: Source, reading: Reading, problems: Iterable[Problem]) -> None:
        located = tuple(locate([*problems], reading.source))
        self.reporter.report_problems(Findings(file=source.name, text=reading.source, problems=located))

    def _judge(self, old: tuple[Source, Reading], new: tuple[Source, Reading]) -> ExitCode:
        before, after = (_make_side(*each) for each in (old, new))
        manifests = old[1].manifest, new[1].manifest
        try:
            findings = compare_contracts(*manifests, self.request.deploy)
        except ModelFailed as error:
            source, reading = old if error.is_old else new
            self._report(source, reading, error.problems)
            return self._count_invalid(source)
        findings += self._read_samples(*manifests)
        today = datetime.now(UTC).date()
        findings, used = apply_ignores(findings, self.settings.ignores, digest=before.digest, today=today)
        self.used |= used
        findings = [finding for finding in findings if self._is_chosen(finding)]
        shown = [
            finding
            for finding in findings
            if finding.grade is not Grade.SAFE or self.request.show is Show.SAFE
        ]
        surfaces = tuple(dict.fromkeys(usage.surface for usage in list_usages(*manifests)))
        located = locate_findings(shown, before, after)
        self.comparisons.append(Comparison(old=before, new=after, findings=located, surfaces=surfaces))
        is_broken = any(fails(finding, self.request.fail_on) for finding in findings)
        return ExitCode.DRIFT if is_broken else ExitCode.OK

    def _list_unused(self) -> ExitCode:
        """Print the ignores that match nothing, each as it stands in the configuration."""
        unused = [ignore for ignore in self.settings.ignores if ignore not in self.used]
        for ignore in unused:
            parts = {
                "rule": ignore.rule,
                "surface": ignore.surface,
                "path": ignore.path,
                "from": ignore.digest,
                "until": ignore.until.isoformat(),
            }
            shown = ", ".join(f"{name} = {text}" for name, text in parts.items() if text is not None)
            sys.stdout.write(f"{shown}\n")
        return ExitCode.DRIFT if unused else ExitCode.OK

    def _read_samples(self, old: Manifest, new: Manifest) -> list[Finding]:
        """Return what the new contract refuses of the samples, and note what became of the others."""
        if not self.samples:
            return []
        findings, counts = find_refused_samples(old, new, self.samples)
        notes = {
            "read": counts.read,
            "read by the old contract only": counts.refused,
            "not read by the old contract either, and not counted": counts.refused_before,
            "of other contracts or queues": counts.without_queue,
        }
        shown = ", ".join(f"{count} {what}" for what, count in notes.items() if count)
        self._note(f"{len(self.samples)} samples: {shown}")
        return findings

    def _is_chosen(self, finding: Finding) -> bool:
        return not self.request.only or bool(self.request.only.intersection(finding.columns))

    def _warn_about_unused(self) -> None:
        for ignore in self.settings.ignores:
            if ignore not in self.used:
                self._note(f"the ignore of {ignore.rule} matches nothing: remove it, or correct it")

    def _refuse(self, message: str) -> None:
        self.refusals.append(message)
        if self.request.format is not ComparisonFormat.JUNIT:
            self.reporter.report_refusal(message)

    def _note(self, message: str) -> None:
        if self.request.format in (ComparisonFormat.TEXT, ComparisonFormat.GITHUB) and not self.request.quiet:
            sys.stderr.write(f"{message}\n")

    def finish(self) -> None:
        """Print the result. JSON and SARIF have the problems of invalid contracts next to the changes of the others."""
        renderers: dict[ComparisonFormat, Callable[[], str]] = {
            ComparisonFormat.JSON: partial(
                document.render_json, self.comparisons, self.refusals, self.reporter.invalid
            ),
            ComparisonFormat.SARIF: partial(
                sarif.render_sarif, self.comparisons, self.refusals, self.reporter.invalid
            ),
            ComparisonFormat.JUNIT: partial(
                junit.render_junit, self.comparisons, self.refusals, fail_on=self.request.fail_on
            ),
        }
        if self.request.format in renderers:
            sys.stdout.write(renderers[self.request.format]())
        elif self.request.format is ComparisonFormat.GITHUB:
            for comparison in self.comparisons:
                sys.stdout.writelines(f"{line}\n" for line in github.annotate_comparison(comparison))
        else:
            self._print_text()
        if self.comparisons:
            self._note(text.format_summary(self.comparisons))

    def _print_text(self) -> None:
        colour = has_colour(sys.stdout)
        for comparison in self.comparisons:
            sys.stdout.writelines(f"{line}\n" for line in text.format_comparison(comparison, colour=colour))


def _find_path(old: str) -> Path | None:
    """Return the file that OLD names: a revision alone as NEW is about it."""
    return None if old.startswith(GIT) else Path(old)


def _make_side(source: Source, reading: Reading) -> Side:
    return Side(
        source=source.name,
        file=source.path.as_posix(),
        digest=compute_digest(reading.manifest),
        text=reading.source,
    )
