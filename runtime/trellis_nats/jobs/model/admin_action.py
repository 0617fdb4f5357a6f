"""The person or program that acts on a job from outside, and why: a part of the event that the action stores. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from trellis_nats.errors.configuration import require_text
from trellis_nats.jobs.model.event_factory import shorten

__all__ = ["AdminAction"]

_NAME_MAX = 256
"""Characters of a name that are stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AdminAction:
    """The person or program that acts on a job, and why. Every member may be absent, and is then not stored.

    Raises:
        ConfigurationError: a member is not a text.
    """

    actor: str | None = None
    """Its name. At most 256 characters are stored."""
    reason: str | None = None
    """Why. At most 8 KiB are stored."""
    source: str | None = None
    """Through what, for example `console` or `command line`."""
    bulk_id: str | None = None
    """The bulk action that this action is a part of."""

    replaced_by: str | None = None
    """The id of the job that runs instead, with an edited payload."""

    def __post_init__(self) -> None:
        for name in ("actor", "reason", "source", "bulk_id", "replaced_by"):
            value: object = getattr(self, name)
            if value is not None:
                require_text(name, value)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the member `adminAction` of an event; empty when nothing is known."""
        members = {
            "reason": self.reason,
            "actor": self.actor and self.actor[:_NAME_MAX],
            "bulkId": self.bulk_id and self.bulk_id[:_NAME_MAX],
            "source": self.source and self.source[:_NAME_MAX],
            "replacedBy": self.replaced_by,
        }
        return {name: shorten(value) for name, value in members.items() if value}
