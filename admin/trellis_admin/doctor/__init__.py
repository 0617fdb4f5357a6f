"""`trellis doctor`: looks for what keeps jobs from running, or will, and names the remedy of each fault."""

from trellis_admin.doctor.checks import CHECKS, examine
from trellis_admin.doctor.collecting import Examined, collect
from trellis_admin.doctor.facts import Facts
from trellis_admin.doctor.findings import Finding, Severity
from trellis_admin.doctor.report import to_json, to_text

__all__ = ["CHECKS", "Examined", "Facts", "Finding", "Severity", "collect", "examine", "to_json", "to_text"]
