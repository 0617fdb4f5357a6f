"""A service without a server, whose handlers a test calls."""

from __future__ import annotations

from typing import TypeVar

from trellis_nats.runtime import Runtime
from trellis_nats.service import Service
from trellis_nats.testing.service_under_test import TEST_OPTIONS

__all__ = ["unconnected"]

ServiceT = TypeVar("ServiceT", bound=Service)


def unconnected(service_class: type[ServiceT]) -> ServiceT:
    """Return a service that is not connected: register its handlers, and call them with `call` or `active_job`.

    What needs NATS in a handler, such as `create`, `publish` or a bucket, raises `ConfigurationError`: test such a handler with
    `service_under_test`.
    """
    return service_class(Runtime(service_class.contract, TEST_OPTIONS))
