"""The rules that a schema cannot express: names exist, agree and are legal. A rule takes a manifest and yields problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TypeAlias

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.rules.access import capabilities_exist, capabilities_have_local_names
from trellis_codegen.contract.rules.consumers import consumers_receive_known_events
from trellis_codegen.contract.rules.identity import (
    devices_have_no_resources,
    ids_have_versions,
    names_are_legal,
)
from trellis_codegen.contract.rules.numbers import numbers_fit
from trellis_codegen.contract.rules.parameters import events_have_their_params, transfers_have_their_places
from trellis_codegen.contract.rules.queues import (
    flags_are_enforced,
    keys_can_be_computed,
    leases_outlive_heartbeats,
    queues_have_keys,
    queues_have_legal_names,
    waits_can_be_reached,
)
from trellis_codegen.contract.rules.references import (
    BUILT_IN_ERRORS,
    errors_exist,
    exports_exist,
    schemas_exist,
    stores_exist,
)
from trellis_codegen.contract.rules.subjects import subjects_are_legal, subjects_do_not_meet
from trellis_codegen.problems import Problem

__all__ = ["BUILT_IN_ERRORS", "check"]

_MOST_OF_A_KIND = 200
"""A rule stops after this many problems: more are not read, and each hint takes time."""

Rule: TypeAlias = Callable[[Manifest], Iterator[Problem]]


def check(manifest: Manifest) -> list[Problem]:
    """Return the problems that the rules find."""
    return [problem for rule in _RULES for problem in _limit(rule(manifest))]


def _limit(found: Iterator[Problem]) -> Iterator[Problem]:
    yield from islice(found, _MOST_OF_A_KIND)
    more = next(found, None)
    if more is not None:
        yield replace(more, what=f"{more.what}; there may be more problems like it", hint="fix these first")


_RULES: tuple[Rule, ...] = (
    ids_have_versions,
    names_are_legal,
    devices_have_no_resources,
    schemas_exist,
    exports_exist,
    errors_exist,
    stores_exist,
    capabilities_exist,
    capabilities_have_local_names,
    subjects_are_legal,
    subjects_do_not_meet,
    events_have_their_params,
    transfers_have_their_places,
    consumers_receive_known_events,
    queues_have_legal_names,
    queues_have_keys,
    keys_can_be_computed,
    leases_outlive_heartbeats,
    waits_can_be_reached,
    flags_are_enforced,
    numbers_fit,
)
