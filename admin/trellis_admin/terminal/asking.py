"""Asks before many jobs are changed: only a person on a terminal is asked, and answers with the count."""

from __future__ import annotations

import sys

from trellis_nats._support.plural import plural

__all__ = ["Declined", "confirm_count"]


class Declined(Exception):
    """Nothing was done. The text says why, and what would do it."""


def confirm_count(question: str, count: int, *, is_agreed: bool) -> None:
    """Return once it is confirmed that `count` jobs are meant.

    Args:
        question: what will happen to them.
        count: how many there are.
        is_agreed: whether `--yes` was given.

    Raises:
        Declined: it is not.
    """
    if is_agreed:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Declined(f"{question} Nothing was done: there is no terminal to ask on; pass --yes to agree")
    sys.stderr.write(f"{question}\nType the count to confirm: ")
    sys.stderr.flush()
    typed = sys.stdin.readline().strip().replace(",", "").replace("_", "").replace(" ", "")
    if typed != str(count):
        raise Declined(
            f"nothing was done: you typed {typed[:40] or 'nothing'}, and it is {plural(count, 'job')}"
        )
