"""Permissions for the users of a server, from a generated package."""

from __future__ import annotations

from trellis_nats.binding import Binding
from trellis_nats.client import Client
from trellis_nats.errors import ConfigurationError
from trellis_nats.options import Options
from trellis_nats.permissions import Permissions, Role, permissions_for, usage_of
from trellis_nats.runtime import Runtime
from trellis_nats.service import Service

__all__ = ["permissions"]


def permissions(
    package: type[Service | Client],
    role: Role,
    *,
    binding: Binding | None = None,
    inbox_prefix: str | None = None,
) -> Permissions:
    """Return what a user of NATS must be allowed to play a role of a service, and nothing else.

    `worker` works the queues, serves the RPCs, publishes the events and uses the buckets; `producer` creates jobs and
    follows and cancels them; `operator` has the duties (`Options.duties`, `reconcile`, `purge_ended`, `follow`), beside
    a worker's rights or alone; `provisioner` makes streams, consumers and buckets; `client`, of a generated client
    class, calls the RPCs and listens to the events. Two roles are joined with `|`.

    With a control plane, give its `binding`: its names are used. `inbox_prefix` is that of `Options`, where it is set.

        print(permissions(OrdersService, "worker").to_config())

    Raises:
        ConfigurationError: the class and the role do not fit, the prefix is malformed, or a name of the contract may not
            stand in a subject.
        IncompatiblePackage: the package was generated for another version of the runtime's interface.
    """
    is_client = issubclass(package, Client)
    if is_client != (role == "client"):
        kind = "client" if role == "client" else "service"
        raise ConfigurationError(
            f'role "{role}" is one of a {kind}: give the generated {kind} class, not {package.__name__}'
        )
    runtime = Runtime(package.contract, Options(inbox_prefix=inbox_prefix), binding)
    package(runtime)
    return permissions_for(usage_of(runtime, is_client=is_client), role)
