"""The grant of a transfer, as on the wire (reference, 10). Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import Field, PlainSerializer

from trellis_nats.clock import timestamp
from trellis_nats.codec import Codec
from trellis_nats.json_types import AwareDatetime
from trellis_nats.model import Model
from trellis_nats.runtime import Runtime
from trellis_nats.stores.object import ObjectInfo

__all__ = [
    "CHUNK_BYTES",
    "LIFE",
    "TRANSFER_GRANT",
    "TRANSFER_INFO",
    "TransferGrant",
    "TransferInfo",
    "new_grant",
    "transfer_subject",
]

CHUNK_BYTES: Final = 262_144
"""The largest chunk of a transfer."""
LIFE: Final = timedelta(seconds=60)
"""How long a grant can be used, unless the contract states another time."""

Direction: TypeAlias = Literal["send", "receive"]
_Instant: TypeAlias = Annotated[AwareDatetime, PlainSerializer(timestamp)]
_FOLDERS: Final = {"send": "upload", "receive": "download"}


class TransferInfo(Model):
    """An object, as grants and replies describe it."""

    key: str
    size: Annotated[int, Field(ge=0)]
    updated_at: Annotated[_Instant, Field(alias="updatedAt")]
    digest: str | None = None
    content_type: Annotated[str | None, Field(alias="contentType")] = None
    metadata: dict[str, str] = Field(default_factory=dict[str, str])

    @classmethod
    def of(cls, info: ObjectInfo) -> Self:
        """Return what is sent about an object; what is not known is left out."""
        known: dict[str, str] = {}
        if info.digest is not None:
            known["digest"] = info.digest
        if info.content_type is not None:
            known["contentType"] = info.content_type
        members = {"key": info.key, "size": info.size, "updatedAt": info.updated, "metadata": info.metadata}
        return cls.model_validate({**members, **known})

    def object_info(self) -> ObjectInfo:
        """Return the object."""
        return ObjectInfo(
            key=self.key,
            size=self.size,
            updated=self.updated_at,
            digest=self.digest,
            content_type=self.content_type,
            metadata=self.metadata,
        )


TRANSFER_INFO: Final = Codec[TransferInfo](TransferInfo, what="the object of a transfer")


class TransferGrant(Model):
    """The permission for one transfer."""

    type: Literal["TransferGrant"]
    direction: Direction
    service: str
    session_key: Annotated[str, Field(alias="sessionKey")]
    transfer_id: Annotated[str, Field(alias="transferId")]
    subject: Annotated[
        str, Field(pattern=r"^transfer\.v1\.(upload|download)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")
    ]
    expires_at: Annotated[_Instant, Field(alias="expiresAt")]
    chunk_bytes: Annotated[int, Field(alias="chunkBytes", ge=1)]
    max_bytes: Annotated[int | None, Field(alias="maxBytes", ge=1)] = None
    content_type: Annotated[str | None, Field(alias="contentType")] = None
    metadata: dict[str, str] = Field(default_factory=dict[str, str])
    info: TransferInfo | None = None


TRANSFER_GRANT: Final = Codec[TransferGrant](TransferGrant, what="the grant of a transfer")


def transfer_subject(direction: Direction, owner: str, transfer_id: str) -> str:
    """Return the subject of a transfer; `*` stands for all of them."""
    return f"transfer.v1.{_FOLDERS[direction]}.{owner}.{transfer_id}"


def new_grant(
    direction: Direction,
    runtime: Runtime,
    *,
    session_key: str,
    transfer_id: str,
    expires_at: datetime,
    **more: object,
) -> TransferGrant:
    """Return a grant of a service; `more` are its other members, by their wire names."""
    return TransferGrant.model_validate(
        {
            "type": "TransferGrant",
            "direction": direction,
            "service": runtime.contract.name,
            "sessionKey": session_key,
            "transferId": transfer_id,
            "subject": transfer_subject(direction, runtime.own_token, transfer_id),
            "expiresAt": expires_at,
            "chunkBytes": CHUNK_BYTES,
            **more,
        }
    )
