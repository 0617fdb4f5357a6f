"""The names of an object store on the server, as NATS' own clients use them. Pure."""

from __future__ import annotations

import base64

__all__ = ["chunk_subject", "meta_subject", "object_stream"]


def object_stream(store: str) -> str:
    """Return the name of the stream that holds an object store."""
    return f"OBJ_{store}"


def chunk_subject(store: str, object_id: str = ">") -> str:
    """Return the subject of all chunks of an object; by default a filter for the chunks of all objects."""
    return f"$O.{store}.C.{object_id}"


def meta_subject(store: str, name: str | None = None) -> str:
    """Return the subject of the record that describes an object; by default a filter for those of all objects."""
    token = ">" if name is None else base64.urlsafe_b64encode(name.encode()).decode()
    return f"$O.{store}.M.{token}"
