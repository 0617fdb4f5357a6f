"""`--format junit`: a case for each surface, so that reports also show what was compared and is well."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from trellis_codegen.breaking.schemas.describing import show_witness
from trellis_codegen.cli.comparing.report import Comparison, Located, fails
from trellis_codegen.cli.comparing.requests import FailOn
from trellis_codegen.cli.excerpts import escape_unprintable

__all__ = ["render_junit"]

_SUITE = "trellis-gen breaking"


def render_junit(comparisons: Sequence[Comparison], refusals: Sequence[str], *, fail_on: FailOn) -> str:
    """Return the report: findings that fail the run are failures, the others are output of their case."""
    root = ET.Element("testsuites", name=_SUITE)
    for comparison in comparisons:
        _add_suite(root, comparison, fail_on)
    if refusals:
        suite = ET.SubElement(root, "testsuite", name=_SUITE, tests="1", failures="0", errors="1")
        case = ET.SubElement(suite, "testcase", classname=_SUITE, name="run")
        ET.SubElement(case, "error", message="; ".join(refusals))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_suite(root: ET.Element, comparison: Comparison, fail_on: FailOn) -> None:
    groups: dict[str, list[Located]] = {surface: [] for surface in comparison.surfaces}
    for located in comparison.findings:
        groups.setdefault(located.finding.surface, []).append(located)
    failures = sum(fails(located.finding, fail_on) for located in comparison.findings)
    suite = ET.SubElement(
        root,
        "testsuite",
        name=comparison.new.source,
        tests=str(len(groups)),
        failures=str(failures),
        errors="0",
    )
    for surface, findings in groups.items():
        case = ET.SubElement(suite, "testcase", classname=comparison.new.source, name=surface)
        for located in findings:
            if fails(located.finding, fail_on):
                failure = ET.SubElement(
                    case,
                    "failure",
                    type=located.finding.rule,
                    message=escape_unprintable(located.finding.message),
                )
                failure.text = _describe(located)
        quiet = [each for each in findings if not fails(each.finding, fail_on)]
        if quiet:
            ET.SubElement(case, "system-out").text = "\n".join(map(_describe, quiet))


def _describe(located: Located) -> str:
    finding = located.finding
    lines = [f"{finding.grade} {finding.rule} {located.side.source}:{located.line}:{located.column}"]
    lines += [finding.message]
    lines += [
        f"for example {show_witness(value, finding.path)} ({direction})"
        for direction, value in finding.witnesses
    ]
    lines += located.remedies
    return "\n".join(map(escape_unprintable, lines))
