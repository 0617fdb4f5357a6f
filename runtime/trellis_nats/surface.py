"""A surface: one part of a service or client, such as a job queue, a procedure, an event or a bucket.

It declares what it needs on the server as data. The runtime keeps one list of surfaces; provisioning, permissions,
start and stop iterate over it, so that a new kind of surface changes none of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from trellis_nats._support.grace_period import GracePeriod
from trellis_nats.binding import Binding
from trellis_nats.grants import Grant, Role
from trellis_nats.provision.requirements import Requirement

__all__ = ["Surface"]


class Surface:
    """The base of surfaces. Each method has a default, so that a subclass states only what applies to it."""

    takes_calls: ClassVar[bool] = False
    """Whether others call its handler: a signature shows who does."""

    def local_binding(self, service: str) -> Binding:
        """Return the names that the surface uses when no control plane gives any. The default has none.

        Args:
            service: the name of the service, as it appears in subjects.

        Raises:
            ConfigurationError: a name in the contract is not valid in a subject.
        """
        del service
        return Binding()

    def requirements(self, binding: Binding) -> Iterable[Requirement]:
        """Return the streams, consumers and buckets that must exist. The default needs none."""
        del binding
        return ()

    def grants(self, binding: Binding, role: Role) -> Iterable[Grant]:
        """Return what a user with this role must be allowed to do. The default needs nothing.

        What provisioning and verifying take follows from the requirements and is not repeated here.
        """
        del binding, role
        return ()

    def is_served(self) -> bool:
        """Return whether this process has a handler for it. The default takes none."""
        return False

    async def open(self) -> None:
        """Begin what lasts as long as the connection, in clients too. The default does nothing.

        Called once connected, after provisioning and before the start.
        """

    async def start(self) -> None:
        """Begin to work when the service starts. The default does nothing."""

    async def stop(self, grace: GracePeriod) -> None:
        """Take no new work, and finish what runs within the grace period. The default does nothing.

        It is also called when the surface has not started, or has stopped.
        """
        del grace

    async def release(self) -> None:
        """Give back what could not be stopped. Called once every surface has stopped; the default does nothing."""

    async def close(self) -> None:
        """End what `open` began, before the connection closes. The default does nothing."""
