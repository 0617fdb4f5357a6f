"""The permissions that an account needs for each role of a service, and the check that it has them.

Surfaces declare grants; `roles` collects those of one role, `config` writes them for a server, `preflight` asks the server
for them before a service starts.
"""

from trellis_nats.permissions.config import Permissions
from trellis_nats.permissions.missing import permissions_missing
from trellis_nats.permissions.preflight import require_permissions
from trellis_nats.permissions.roles import VIEWER_INBOX, inbox_prefix, permissions_for

__all__ = [
    "VIEWER_INBOX",
    "Permissions",
    "inbox_prefix",
    "permissions_for",
    "permissions_missing",
    "require_permissions",
]
