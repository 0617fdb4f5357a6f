"""A deployment with a control plane: how a service joins it, logs in at each connection, and has its callers checked."""

from trellis_nats.control_plane.membership import Membership, join
from trellis_nats.control_plane.validation import ControlPlaneAuthority

__all__ = ["ControlPlaneAuthority", "Membership", "join"]
