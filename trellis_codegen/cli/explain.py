"""`trellis-gen explain`: what a member of a manifest or a rule means."""

from __future__ import annotations

from trellis_codegen.breaking.explaining import explain_rule, list_rules
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.contract.lookup import describe_member, find_members, list_paths
from trellis_codegen.contract.rule_explaining import explain_manifest_rule
from trellis_codegen.problems import did_you_mean
from trellis_codegen.rule_ids import Rule

__all__ = ["explain_subject", "run"]


def run(name: str) -> ExitCode:
    """Print what a member or a rule means."""
    reporter = Reporter()
    lines = explain_subject(name)
    if not lines:
        hint = did_you_mean(name, [*list_paths(), *Rule, *list_rules()])
        help_text = hint or 'name a member such as "jobs.ackWaitMs", or the id of a rule'
        reporter.report_refusal(f'there is no member and no rule "{name}"; {help_text}')
        return ExitCode.USAGE
    reporter.print_result(lines)
    return ExitCode.OK


def explain_subject(name: str) -> list[str]:
    """Return what is known about a member or a rule; nothing if there is neither."""
    found = [line for member in find_members(name) for line in describe_member(member)]
    rule = None if found else explain_manifest_rule(name) or explain_rule(name)
    return [rule] if rule is not None else found
