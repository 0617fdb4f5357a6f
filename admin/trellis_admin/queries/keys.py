"""The concurrency keys of jobs that have not ended."""

from __future__ import annotations

import sqlite3

from trellis_admin.projection.codes import from_milliseconds
from trellis_admin.queries.rows import KeyRow

__all__ = ["list_keys"]


def list_keys(
    db: sqlite3.Connection, *, prefix: str | None = None, key_hash: str | None = None, limit: int = 200
) -> list[KeyRow]:
    """Return keys with jobs that have not ended, those with the most waiting jobs first.

    Jobs of runtimes that do not name the key in their events are not among them.

    Args:
        db: a connection of `connect_reader`.
        prefix: the publish prefix of a queue; None for all queues.
        key_hash: the beginning of a key's hash; None for all keys.
        limit: how many at most.
    """
    where, values = ["key_hash IS NOT NULL", "state < 3"], list[str | int]()
    if prefix is not None:
        where.append("queue IN (SELECT number FROM queue WHERE prefix = ?)")
        values.append(prefix)
    if key_hash is not None:
        where.append("key_hash >= ? AND key_hash < ?")
        values += [key_hash, key_hash + "g"]
    rows = db.execute(
        "SELECT service, name, prefix, max(key), key_hash, sum(state != 1), sum(state = 1), min(created_at) "
        f"FROM job JOIN queue ON number = queue WHERE {' AND '.join(where)} "
        "GROUP BY queue, key_hash ORDER BY 6 DESC, 5 LIMIT ?",
        (*values, limit),
    ).fetchall()
    return [
        KeyRow(
            service=service,
            queue=queue,
            prefix=found_prefix,
            key=key or "",
            key_hash=found_hash,
            waiting=waiting,
            running=running,
            oldest=from_milliseconds(oldest),
        )
        for service, queue, found_prefix, key, found_hash, waiting, running, oldest in rows
    ]
