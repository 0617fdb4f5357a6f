"""What a page says when there is something wrong."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NotThere", "Problem"]


@dataclass(frozen=True, slots=True)
class Problem:
    """What happened, what still works, and what to do."""

    heading: str
    text: str
    detail: str = ""
    icon: str = "warn"
    may_repeat: bool = False
    links: tuple[tuple[str, str], ...] = ()
    """Words and addresses."""


class NotThere(Exception):
    """What an address names does not exist."""

    __match_args__ = ("problem",)

    def __init__(self, heading: str, text: str, *links: tuple[str, str]) -> None:
        super().__init__(heading)
        self.problem = Problem(heading, text, icon="search", links=links)
