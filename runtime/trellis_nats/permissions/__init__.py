"""What an account must be allowed for each role of a service, and a look whether it is.

`jobs`, `surfaces` and `provisioning` say what each part of the runtime uses, and `roles` puts that together; all pure.
`check` asks the server.
"""

from trellis_nats.permissions.config import Permissions
from trellis_nats.permissions.preflight import require_rights
from trellis_nats.permissions.roles import Role, permissions_for
from trellis_nats.permissions.usage import inbox_prefix, usage_of

__all__ = ["Permissions", "Role", "inbox_prefix", "permissions_for", "require_rights", "usage_of"]
