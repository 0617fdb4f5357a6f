"""`trellis audit`: whether a contract reads what the jobs of a service have stored."""

from trellis_admin.audit.auditing import AuditRequest, CannotAudit, audit_service
from trellis_admin.audit.counts import Audit, Counted, Example, FailureCount, Kind, Subject, Writer
from trellis_admin.audit.report import to_json, to_text

__all__ = [
    "Audit",
    "AuditRequest",
    "CannotAudit",
    "Counted",
    "Example",
    "FailureCount",
    "Kind",
    "Subject",
    "Writer",
    "audit_service",
    "to_json",
    "to_text",
]
