"""The permissions of every surface that answers calls. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from trellis_nats.grants import Grant, Probe, StartCheck, answer, publish
from trellis_nats.runtime import Runtime

__all__ = ["check_grants", "many_answers_grants"]

_VALIDATE: Final = "rpc.v1.Auth.Requests.Validate"


def check_grants(runtime: Runtime, *, at_start: StartCheck) -> Iterator[Grant]:
    """To check who calls."""
    if runtime.callers == "control-plane":
        yield publish(_VALIDATE, "ask the control plane who calls", probe=Probe.TRACE_ONLY, at_start=at_start)


def many_answers_grants(
    runtime: Runtime, subject: str, purpose: str, *, at_start: StartCheck
) -> Iterator[Grant]:
    """To answer one call many times, on `subject`.

    `allow_responses` of `permissions` allows one answer to each call, for some minutes: a feed has many, for as long as it is
    open. So the service may publish to the inboxes of its callers. A control plane allows many answers instead.
    """
    if runtime.has_given_binding:
        yield answer(subject, purpose, probe=Probe.NONE, at_start=at_start)
        at_start = StartCheck.SKIPPED if at_start is StartCheck.SKIPPED else StartCheck.OPTIONAL
    yield publish(runtime.callers_inboxes, purpose, at_start=at_start)
