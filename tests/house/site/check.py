"""Reads a built site as a browser without a network does: links, anchors, and what pages load."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from typing_extensions import override

__all__ = ["faults_of"]

_LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src")}
"""What a browser fetches on its own."""


@dataclass(slots=True)
class _Page:
    links: list[str] = field(default_factory=list[str])
    loaded: list[str] = field(default_factory=list[str])
    anchors: set[str] = field(default_factory=set[str])


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = _Page()

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name in {"id", "name"}:
                self.page.anchors.add(value)
            elif (tag, name) in _LOADED and not value.startswith("data:"):
                self.page.loaded.append(value)
            elif (tag, name) == ("a", "href"):
                self.page.links.append(value)


def faults_of(site: Path) -> list[str]:
    """Return what is wrong: links and anchors that do not exist, assets of other sites, pages that no page links to."""
    pages = {path.relative_to(site).as_posix(): _read(path) for path in sorted(site.rglob("*.html"))}
    reached = {"index.html", "404.html"}
    faults: list[str] = []
    for name, page in pages.items():
        faults += [f"{name}: loads {url} from another site" for url in page.loaded if urlsplit(url).netloc]
        if name == "404.html":
            continue  # its links begin at the root of the server
        for url in [*page.links, *page.loaded]:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = _target(name, unquote(parts.path))
            if target != name:
                reached.add(target)
            if not (site / target).is_file():
                faults.append(f"{name}: links to {url}, which does not exist")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                faults.append(f"{name}: links to {url}, which has no such anchor")
    return faults + [f"{name}: no other page links to it" for name in pages if name not in reached]


def _read(path: Path) -> _Page:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def _target(page: str, path: str) -> str:
    if not path:
        return page
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
    return posixpath.join(target, "index.html") if path.endswith("/") or target == "." else target
