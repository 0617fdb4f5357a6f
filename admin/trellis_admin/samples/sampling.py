"""Chooses samples that cover what differs: states, versions that wrote, and shapes. Deterministic, in any order. Pure."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import zip_longest
from typing import Final, NamedTuple

from pydantic import JsonValue

from trellis_admin.samples.placeholders import type_of

__all__ = ["Candidate", "Sampling", "shape_of"]

_SHAPES: Final = 1_000
"""How many kinds of payloads of one queue are told apart; further ones share a place."""
_DEEPEST: Final = 32
_ITEMS: Final = 100
"""How many items of a list make up its shape."""
_LONGEST: Final = 200
"""A longer place is replaced by its hash: each member repeats the place that it is in."""


class Candidate(NamedTuple):
    """A payload that may become a sample."""

    rank: bytes
    """A hash of the id of its job: the lowest ones are chosen."""
    sequence: int


class _Group(NamedTuple):
    is_dead: bool
    digest: str
    shape: bytes


class Sampling:
    """Chooses at most `most` payloads of each queue. It holds as many places for each kind of payload."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._queues: dict[str, dict[_Group, list[Candidate]]] = defaultdict(dict)

    def add(
        self, queue: str, job_id: str, sequence: int, payload: JsonValue, *, digest: str, is_dead: bool
    ) -> None:
        """Take the next payload."""
        groups = self._queues[queue]
        group = _Group(is_dead, digest, shape_of(payload))
        if group not in groups and len(groups) >= _SHAPES:
            group = _Group(is_dead=False, digest="", shape=b"others")
        candidates = groups.setdefault(group, [])
        candidates.append(Candidate(_hash(job_id), sequence))
        if len(candidates) >= 2 * self._most:
            candidates.sort()
            del candidates[self._most :]

    def choose(self) -> list[int]:
        """Return where the samples are, in order: one of each kind of payload first, then a second one, and so on."""
        return sorted(
            sequence for groups in self._queues.values() for sequence in self._choose_of_queue(groups)
        )

    def _choose_of_queue(self, groups: dict[_Group, list[Candidate]]) -> list[int]:
        ordered = [sorted(groups[group]) for group in sorted(groups)]
        in_turn: Iterator[Candidate | None] = (
            candidate for turn in zip_longest(*ordered) for candidate in turn
        )
        return [candidate.sequence for candidate in in_turn if candidate is not None][: self._most]


def shape_of(payload: JsonValue) -> bytes:
    """Return a hash of the places in a payload and their JSON types. Items of a list have one place."""
    places: set[str] = set()
    pending: list[tuple[str, JsonValue, int]] = [("", payload, 0)]
    while pending:
        place, value, depth = pending.pop()
        places.add(f"{place} {type_of(value)}")
        if depth >= _DEEPEST:
            continue
        if len(place) > _LONGEST:
            place = _hash(place).hex()
        if isinstance(value, dict):
            pending += [(f"{place}/{name}", member, depth + 1) for name, member in value.items()]
        elif isinstance(value, list):
            pending += [(f"{place}/*", item, depth + 1) for item in value[:_ITEMS]]
    return _hash("\n".join(sorted(places)))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
