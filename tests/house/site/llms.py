"""The list of all pages for language models, as llmstxt.org describes it: title, address and first sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tests.house.site import markdown
from tests.house.site.nav import Section, pages_of

__all__ = ["llms_text"]

_HOME: Final = "index.md"


def llms_text(sections: Iterable[Section], folder: Path) -> str:
    """Return the list of the pages in the folder, a heading for each section of the navigation."""
    home = (folder / _HOME).read_text(encoding="utf-8")
    lines = [f"# {markdown.title_of(home)}", "", f"> {markdown.description_of(home)}"]
    for section in sections:
        lines += ["", f"## {section.title}", "", *_entries(section, folder)]
    return "\n".join(lines) + "\n"


def _entries(section: Section, folder: Path) -> Iterator[str]:
    for page in pages_of([section]):
        text = (folder / page).read_text(encoding="utf-8")
        description = markdown.description_of(text)
        yield f"- [{markdown.title_of(text)}]({page})" + (f": {description}" if description else "")
