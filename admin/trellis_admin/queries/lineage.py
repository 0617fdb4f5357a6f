"""The family of a job: what it was created by, and what it created."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from trellis_admin.queries.jobs import snapshot
from trellis_admin.queries.reading import COLUMNS, read_row
from trellis_admin.queries.rows import JobRow

__all__ = ["Family", "FamilyMember", "read_family"]

_MEMBERS_MAX: Final = 200
_DEPTH_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class FamilyMember:
    """A job and the jobs that its handler created."""

    job: JobRow
    children: tuple[FamilyMember, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """Jobs that one job led to."""

    roots: tuple[FamilyMember, ...]
    """The first job. Where it is gone, each of the oldest ones that are left."""
    is_cut: bool
    """Whether there are more jobs than 200."""


def read_family(db: sqlite3.Connection, job: JobRow) -> Family:
    """Return the family of a job. A job without relatives is its only member."""
    root = job.root_id or job.id
    with snapshot(db):
        rows = db.execute(
            f"SELECT {COLUMNS} WHERE root_id = ? OR id IN (?, ?) ORDER BY created_seq LIMIT ?",
            (root, root, job.id, _MEMBERS_MAX + 1),
        ).fetchall()
    members = [read_row(row) for row in rows[:_MEMBERS_MAX]]
    ids = {member.id for member in members}
    children: dict[str | None, list[JobRow]] = {}
    for member in members:
        parent = member.parent_id if member.parent_id in ids and member.parent_id != member.id else None
        children.setdefault(parent, []).append(member)
    placed: set[int] = set()

    def build(member: JobRow, depth: int) -> FamilyMember:
        placed.add(member.created_sequence)
        below = children.get(member.id, []) if depth < _DEPTH_MAX else []
        return FamilyMember(
            member, tuple(build(child, depth + 1) for child in below if child.created_sequence not in placed)
        )

    roots = [build(member, 0) for member in children.get(None, [])]
    # Jobs that name each other as parents are not below a root; each of them is shown alone.
    roots += [FamilyMember(member, ()) for member in members if member.created_sequence not in placed]
    return Family(tuple(roots), len(rows) > _MEMBERS_MAX)
