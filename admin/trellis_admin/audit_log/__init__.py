"""The audit log has who changed or saw what, and why. Stream TRELLIS_AUDIT keeps it for 400 days, and nothing can be edited.

`records` is what is stored, `writer` stores it around an action, `reading` reads it newest first, `filters` is what `q` means
there, and `resources` creates what the admin tools store on first use.
"""

from trellis_admin.audit_log.filters import AuditFilter, AuditFilterProblem, parse_audit_filter
from trellis_admin.audit_log.reading import AuditCounts, AuditPage, count_audit, read_audit
from trellis_admin.audit_log.records import (
    AUDIT_STREAM,
    KEPT_FOR,
    Action,
    AuditEntry,
    AuditRecord,
    Kind,
    Outcome,
    Phase,
    clean_text,
)
from trellis_admin.audit_log.resources import (
    ADMIN_BUCKET,
    AdminResourceMissing,
    CannotRead,
    explain_missing,
    open_admin_bucket,
)
from trellis_admin.audit_log.writer import Audited, AuditLog

__all__ = [
    "ADMIN_BUCKET",
    "AUDIT_STREAM",
    "KEPT_FOR",
    "Action",
    "AdminResourceMissing",
    "AuditCounts",
    "AuditEntry",
    "AuditFilter",
    "AuditFilterProblem",
    "AuditLog",
    "AuditPage",
    "AuditRecord",
    "Audited",
    "CannotRead",
    "Kind",
    "Outcome",
    "Phase",
    "clean_text",
    "count_audit",
    "explain_missing",
    "open_admin_bucket",
    "parse_audit_filter",
    "read_audit",
]
