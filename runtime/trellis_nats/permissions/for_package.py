"""Permissions for the users of a server, from a generated package."""

from __future__ import annotations

import re
from typing import Final, get_args

from trellis_nats.binding import Binding
from trellis_nats.errors import ConfigurationError
from trellis_nats.grants import Role
from trellis_nats.options import Options
from trellis_nats.permissions.config import Permissions
from trellis_nats.permissions.roles import permissions_for
from trellis_nats.runtime import Callers, Participant, Runtime

__all__ = ["permissions"]

_PUBLIC_KEY: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def permissions(
    package: type[Participant],
    role: Role,
    *,
    binding: Binding | None = None,
    session_key: str | None = None,
    callers: Callers = "open",
    inbox_prefix: str | None = None,
    jetstream_domain: str | None = None,
    jetstream_api_prefix: str | None = None,
) -> Permissions:
    """Return what a user of NATS must be allowed to do to play a role of a service, and nothing else.

    `worker` works the queues, serves the RPCs, publishes the events and uses the buckets; `producer` creates jobs, and
    follows and cancels them; `operator` does the maintenance (`Options.maintenance`, `rescue_lost`, `purge_ended`, `follow`),
    alone or joined with a worker, and everything that the command `trellis` and the console do with the jobs of the service;
    `viewer` looks at all that they show, and changes nothing; `provisioner` creates streams, consumers and buckets; `auditor` reads
    what jobs and events have stored, for `trellis audit`; `client`, of a generated client
    class, calls the RPCs and subscribes to the events. Two roles are joined with `|`.

    With a control plane, give its `binding`: its names are used. `session_key` is the public key of a program that signs its
    calls: its answers arrive below `_INBOX.` and the first 16 characters of the key. `callers` says how a service checks who
    calls: not at all (`open`), by a file of keys (`keys`), or by a control plane (`control-plane`), which it must be allowed to
    ask; callers that sign receive answers in their own inboxes. `inbox_prefix`, `jetstream_domain` and `jetstream_api_prefix`
    are those of `Options`, where they are set.

        print(permissions(OrdersService, "worker").to_config())

    Raises:
        ConfigurationError: there is no such role, the class and the role do not fit, the key or the prefix is malformed, or a name in
            the contract is not valid in a subject.
        IncompatiblePackage: the package was generated for another version of the runtime's interface.
    """
    _check(package, role, session_key, callers)
    options = Options(
        inbox_prefix=inbox_prefix,
        jetstream_domain=jetstream_domain,
        jetstream_api_prefix=jetstream_api_prefix,
    )
    runtime = Runtime(
        package.contract,
        options,
        binding,
        is_client=package.is_client,
        session_key=session_key,
        callers=callers,
    )
    package(runtime)
    return permissions_for(runtime, role)


def _check(package: type[Participant], role: Role, session_key: str | None, callers: Callers) -> None:
    if role not in get_args(Role):
        known = ", ".join(f'"{name}"' for name in get_args(Role))
        raise ConfigurationError(f"role must be one of {known}, got {role!r}")
    if callers not in get_args(Callers):
        known = ", ".join(f'"{name}"' for name in get_args(Callers))
        raise ConfigurationError(f"callers must be one of {known}, got {callers!r}")
    if session_key is not None and _PUBLIC_KEY.fullmatch(session_key) is None:
        raise ConfigurationError(
            "session_key is a public key: 43 characters of A-Z a-z 0-9 _ -, without padding; never pass the seed"
        )
    if package.is_client != (role == "client"):
        kind = "client" if role == "client" else "service"
        raise ConfigurationError(
            f'role "{role}" belongs to a {kind}: pass the generated {kind} class, not {package.__name__}'
        )
