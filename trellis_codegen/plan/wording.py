"""Words and literals that the surfaces share: docstrings from docs, durations as Python and as English."""

from __future__ import annotations

from trellis_codegen.contract.parts import Docs

__all__ = ["duration_code", "duration_words", "text_of"]

_SECOND = 1000
_CODE_UNITS = (
    ("days", 86_400_000),
    ("hours", 3_600_000),
    ("minutes", 60_000),
    ("seconds", 1000),
    ("milliseconds", 1),
)
_WORD_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1))


def text_of(docs: Docs | None, otherwise: str) -> str:
    """Return a docstring's text: the summary, then the explanation."""
    if docs is None:
        return otherwise
    return (
        "\n\n".join(part.strip() for part in (docs.summary, docs.markdown) if part and part.strip())
        or otherwise
    )


def duration_code(milliseconds: int) -> str:
    """Return a duration as Python: `timedelta(minutes=2)`, in the largest unit that leaves no rest."""
    if not milliseconds:
        return "timedelta()"
    unit, size = next(each for each in _CODE_UNITS if milliseconds % each[1] == 0)
    return f"timedelta({unit}={milliseconds // size})"


def duration_words(milliseconds: int) -> str:
    """Return a duration as people say it: `2 min`, `90 s`, `1.5 s`."""
    if not milliseconds:
        return "0 s"
    if milliseconds > _SECOND and milliseconds % _SECOND:
        return f"{milliseconds / _SECOND:g} s"
    unit, size = next(each for each in _WORD_UNITS if milliseconds % each[1] == 0)
    return f"{milliseconds // size} {unit}"
