"""The record that describes an object: keys, and JSON as NATS' own clients write it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel, Field, ValidationError

from trellis_nats.clock import parse_timestamp, timestamp
from trellis_nats.codec import encode_json
from trellis_nats.errors import ConfigurationError, InvalidObjectKey, ObjectDamaged
from trellis_nats.errors.configuration import require_text
from trellis_nats.stores.object import ObjectInfo

__all__ = [
    "CHUNK_BYTES",
    "ObjectMeta",
    "read_meta",
    "require_key",
    "require_texts",
    "write_deleted",
    "write_meta",
]

CHUNK_BYTES: Final = 128 * 1024
"""As NATS' own clients cut objects."""
_KEY_BYTES_MAX: Final = 512
"""In base 64 it is part of a subject: a server takes subjects of about 1,000 characters."""
_CONTENT_TYPE: Final = "__trellis_content_type"
_UNSET_YEAR: Final = 1
"""Some clients write the time of the year 1, and take the time from the server when they read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectMeta:
    """A stored record."""

    info: ObjectInfo
    object_id: str
    """Names the chunks."""
    chunks: int
    chunk_bytes: int | None
    """The size of every chunk but the last. None: unknown."""


class _Options(BaseModel):
    max_chunk_size: int | None = Field(default=None, ge=0)
    link: dict[str, object] | None = None


class _Record(BaseModel):
    name: str
    nuid: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,64}$")
    """A part of the subjects of the chunks, which are purged: a wildcard would name those of other objects."""
    size: int = Field(default=0, ge=0)
    chunks: int = Field(default=0, ge=0)
    digest: str | None = None
    mtime: str | None = None
    metadata: dict[str, str] | None = None
    options: _Options | None = None
    deleted: bool | None = None


def require_key(store: str, key: str) -> str:
    """Return the key if an object may have it: 1 to 512 bytes of UTF-8, without control characters.

    Raises:
        InvalidObjectKey: it may not.
    """
    try:
        is_valid = 0 < len(key.encode()) <= _KEY_BYTES_MAX and not any(_is_control(sign) for sign in key)
    except UnicodeEncodeError:
        is_valid = False
    if not is_valid:
        raise InvalidObjectKey(
            f"a key must be 1 to {_KEY_BYTES_MAX} bytes of UTF-8 without control characters",
            store=store,
            key=key.encode(errors="backslashreplace").decode(),
        )
    return key


def require_texts(content_type: str | None, metadata: Mapping[str, str]) -> None:
    """Check what is stored with an object: no reader could read a record with anything but texts.

    Raises:
        ConfigurationError: it has something else, or the name that stands for the content type.
    """
    if content_type is not None:
        require_text("content_type", content_type)
    for name, text in metadata.items():
        require_text("metadata", name)
        require_text(f"metadata[{name!r}]", text)
    if _CONTENT_TYPE in metadata:
        raise ConfigurationError(f"metadata has {_CONTENT_TYPE}: give content_type instead")


def _is_control(sign: str) -> bool:
    return sign < " " or sign == "\x7f"


def read_meta(store: str, key: str, data: bytes, *, stored: datetime) -> ObjectMeta | None:
    """Read a record that was stored at an instant; None when it says that the object is deleted.

    Raises:
        ObjectDamaged: it is malformed, or a link to another object, which this runtime does not follow.
    """
    try:
        record = _Record.model_validate_json(data)
    except ValidationError:
        raise ObjectDamaged("the record of the object is malformed", store=store, key=key) from None
    if record.deleted:
        return None
    if not record.nuid:
        raise ObjectDamaged("the record of the object does not name its content", store=store, key=key)
    options = record.options or _Options()
    if options.link is not None:
        raise ObjectDamaged("it is a link to another object, which is not followed", store=store, key=key)
    metadata = dict(record.metadata or {})
    content_type = metadata.pop(_CONTENT_TYPE, None)
    info = ObjectInfo(
        key=record.name,
        size=record.size,
        digest=record.digest or None,
        content_type=content_type,
        metadata=metadata,
        updated=_updated(record.mtime, stored),
    )
    return ObjectMeta(
        info=info,
        object_id=record.nuid,
        chunks=record.chunks,
        chunk_bytes=options.max_chunk_size or None,
    )


def write_meta(bucket: str, info: ObjectInfo, *, object_id: str, chunks: int) -> bytes:
    """Write the record of an object."""
    metadata: dict[str, str] = dict(info.metadata)
    if info.content_type is not None:
        metadata[_CONTENT_TYPE] = info.content_type
    return encode_json(
        {
            "bucket": bucket,
            "nuid": object_id,
            "size": info.size,
            "chunks": chunks,
            "name": info.key,
            "description": "",
            "options": {"max_chunk_size": CHUNK_BYTES},
            **({"metadata": {**metadata}} if metadata else {}),
            "mtime": timestamp(info.updated),
            "digest": info.digest or "",
            "deleted": False,
        }
    )


def write_deleted(bucket: str, key: str, *, object_id: str, at: datetime) -> bytes:
    """Write the record of a key whose object is deleted."""
    return encode_json(
        {
            "bucket": bucket,
            "nuid": object_id,
            "size": 0,
            "chunks": 0,
            "name": key,
            "description": "",
            "options": {"max_chunk_size": CHUNK_BYTES},
            "mtime": timestamp(at),
            "digest": "",
            "deleted": True,
        }
    )


def _updated(text: str | None, stored: datetime) -> datetime:
    try:
        written = parse_timestamp(text or "")
    except ValueError:
        return stored
    return stored if written.year == _UNSET_YEAR else written.astimezone(UTC)
