"""Plain English: the worst patterns of texts that read like a translation are refused, with the better words."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.house.sources import ROOT, handwritten

WORDS: Final = {
    r"\bwho(so)?ever\b": 'the noun: "the next caller that needs the slot"',
    r"\b(nobody|no one)\b": '"no process", "no subscriber", "no other worker"',
    r"\beverybody\b": '"all waiters", "every process"',
    r"\bsomebody\b": '"another process", "another writer", "a caller"',
    r"\bfor ?ever\b": '"indefinitely", or how long',
    r"\banew\b": '"again"; for a thing that is made, "recreated"',
    r"\bshall\b": '"must", or the present tense',
    r"\"\"\"(say|tell)s? whether\b": '"Return whether"',
    r"\bbeside\b": '"next to" for a place, "in addition to" for a sum, "compared with" for a comparison',
    r"\bby itself\b": '"automatically", or "alone"',
    r"\bbe it\b": '"whether … or …"',
    r"\bhas (it|them) no (more|longer)\b": '"no longer holds it"',
    r"\b(comes?|came) again\b": '"is redelivered", "arrives twice"',
    r"(?<!there )\b(is|are|was|were) no (?!longer\b|more\b|other\b|less\b|faster\b|slower\b)[a-z]": '"is not a …"',
    r"(?:^|\"\"\"|# |[.;:] )who (?!is\b|can\b|may\b|am\b)[a-z]": 'the noun: "the worker that …"',
}
"""What is refused, and what to write instead."""


def texts() -> list[Path]:
    files = handwritten("*.py", "*.j2", "*.md", "*.toml", "Makefile")
    return [path for path in files if path != Path(__file__)]


def prose(line: str) -> str:
    """Return the words of a line, also those of a name like test_nobody_waits, without references to tests."""
    return re.sub(r"`tests/[^`]*`", "", line).replace("_", " ")


def test_texts_are_in_plain_english() -> None:
    any_word = re.compile("|".join(WORDS), re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}: write {find_better_words(line)}"
        for path in texts()
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if any_word.search(prose(line))
    ]

    assert found == []


def find_better_words(line: str) -> str:
    """Return what to write instead of the refused words of a line."""
    return ", ".join(
        better for pattern, better in WORDS.items() if re.search(pattern, prose(line), re.IGNORECASE)
    )


@pytest.mark.parametrize(
    ("text", "is_refused"),
    [
        ("a text that is no subject", True),
        ("there is no subject", False),
        ("it is no longer held", False),
        ('"""Who waits for the key."""', True),
        ("the worker who waits", False),
        ("def test_nobody_waits", True),
        ("`tests/a.py::test_nobody_waits`", False),
    ],
)
def test_the_patterns_match_what_they_mean(text: str, *, is_refused: bool) -> None:
    assert (find_better_words(text) != "") is is_refused
