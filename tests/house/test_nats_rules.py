"""What the runtime must never do to a server, because it destroys or replays what is stored (docs/guides/operating.md)."""

import re
from pathlib import Path

import pytest

from tests.house.sources import ROOT

SOURCES = sorted(
    path for folder in ("runtime", "admin", "examples") for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("pattern", [r"[\"']Nats-Expected-Last-Msg-Id", r"\bexpected_last_msg_id\b"])
def test_no_message_is_fenced_by_a_message_id(pattern: str) -> None:
    """One such message with a wrong id ends a replicated stream on nats-server 2.14 and 2.15."""
    found = [path for path in SOURCES if re.search(pattern, _read(path), re.IGNORECASE)]

    assert found == []


def test_the_sources_of_a_stream_are_never_updated() -> None:
    """That delivers every unfinished job, and many finished ones, again."""
    updating = [path for path in SOURCES if "STREAM.UPDATE" in _read(path)]
    assert [path for path in updating if "sources" in _read(path)] == []


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
