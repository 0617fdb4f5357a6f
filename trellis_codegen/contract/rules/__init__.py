"""The rules that a schema cannot express: names exist, agree and are legal. A rule takes a manifest and yields problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TypeAlias

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.rules.access import check_capabilities, check_capability_names
from trellis_codegen.contract.rules.consumers import check_consumers
from trellis_codegen.contract.rules.effects import check_effects
from trellis_codegen.contract.rules.identity import check_ids, check_names
from trellis_codegen.contract.rules.numbers import check_numbers
from trellis_codegen.contract.rules.parameters import check_event_params, check_transfers
from trellis_codegen.contract.rules.queues import (
    check_backoff,
    check_flags,
    check_keys,
    check_leases,
    check_literal_keys,
    check_queue_names,
    check_queue_policies,
)
from trellis_codegen.contract.rules.references import (
    BUILT_IN_ERRORS,
    check_errors,
    check_exports,
    check_schemas,
    check_stores,
)
from trellis_codegen.contract.rules.subjects import check_overlaps, check_subjects
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
    check_ids,
    check_names,
    check_schemas,
    check_exports,
    check_errors,
    check_stores,
    check_capabilities,
    check_capability_names,
    check_subjects,
    check_overlaps,
    check_event_params,
    check_transfers,
    check_consumers,
    check_queue_names,
    check_queue_policies,
    check_keys,
    check_literal_keys,
    check_leases,
    check_backoff,
    check_flags,
    check_numbers,
    check_effects,
)
