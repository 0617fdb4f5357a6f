"""The reference page of log events, written from their docstrings: `python -m tests.support.log_page`."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Final

from trellis_nats._support import log_events

__all__ = ["PAGE", "log_page"]

PAGE: Final = Path(__file__).parents[2] / "docs/reference/logs.md"
_HEAD: Final = """# Log events

The runtime logs with the standard library's `logging`, to loggers below `trellis_nats`. Every record has an `event_name`. The
texts may change between releases; the names below and the fields do not. The [guide](../guides/health.md#the-log) says which
events matter for a worker, and at which level they are logged. `make generate` writes this page from the code.

## Fields

| field | value |
|---|---|
"""


def log_page() -> str:
    """Return the page as the code has it."""
    source = inspect.getsource(log_events)
    described = inspect.getdoc(log_events.log_fields) or ""
    fields = re.findall(r"^    (\w+): (.*)\.$", described, re.MULTILINE)
    rows = "".join(f"| `{'event_name' if name == 'event' else name}` | {text} |\n" for name, text in fields)
    return _HEAD + rows + "".join(_sections(source))


def _sections(source: str) -> list[str]:
    lines = source.splitlines()
    (events,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    written: list[str] = []
    section = ""
    for member, words in zip(events.body, events.body[1:], strict=False):
        if not isinstance(member, ast.Assign) or not isinstance(member.value, ast.Constant):
            continue
        titles = re.findall(r"^    # --- (.*?) -+$", "\n".join(lines[: member.lineno]), re.MULTILINE)
        if titles and titles[-1] != section:
            section = titles[-1]
            title = section[0].upper() + section[1:]
            written.append(f"\n## {title}\n\n| `event_name` | meaning |\n|---|---|\n")
        text = ast.literal_eval(words.value) if isinstance(words, ast.Expr) else ""
        written.append(f"| `{member.value.value}` | {text} |\n")
    return written


if __name__ == "__main__":
    PAGE.write_text(log_page())
