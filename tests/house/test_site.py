"""The pages of the documentation can all be reached, and their links lead somewhere, in the repository and in the site."""

from collections import Counter
from pathlib import Path

import pytest

from tests.house.site import markdown
from tests.house.site.check import faults_of
from tests.house.site.nav import NAV, Section, arrange, pages_of
from tests.house.site.stage import link_target, pages, stage
from tests.house.sources import ROOT

READ = [*pages().values(), ROOT / "README.md"]
"""Those that a reader of the repository opens."""


def test_the_navigation_has_every_page_once() -> None:
    counted = Counter(pages_of(arrange(NAV, pages())))

    assert counted == Counter(list(pages()))


def test_a_page_without_a_section_and_a_section_without_its_page_are_refused() -> None:
    nav = (Section("Guides", ("guides/*.md",)), Section("Start", ("guides/first.md",)))

    arranged = arrange(nav, ["guides/first.md", "guides/second.md"])
    assert [section.pages for section in arranged] == [("guides/second.md",), ("guides/first.md",)]
    with pytest.raises(ValueError, match=r"no section .* has other\.md"):
        arrange(nav, ["guides/first.md", "other.md"])
    with pytest.raises(ValueError, match=r"do not exist: guides/first\.md"):
        arrange(nav, ["guides/second.md"])


def test_every_link_of_a_page_leads_to_a_file_and_to_a_heading_in_it() -> None:
    anchors = {page: markdown.anchors_of(page.read_text()) for page in READ}
    broken: list[str] = []
    for page in READ:
        for link in markdown.links_of(page.read_text()):
            if markdown.is_external(link):
                continue
            target, anchor = link_target(page, link)
            if not target.exists() or (anchor and target in anchors and anchor not in anchors[target]):
                broken.append(f"{page.relative_to(ROOT)}: {link}")

    assert len(anchors) > 50
    assert broken == []


def test_a_link_that_leaves_the_documentation_leads_to_a_copy(tmp_path: Path) -> None:
    staged = stage(tmp_path / "docs", {"made.md": "# Made\n"})

    copy = "source/examples/orders_service/tests/test_orders.py.md"
    assert {copy, "made.md", "changelog.md"} <= staged
    assert f"](../{copy})" in (tmp_path / "docs/guides/testing.md").read_text()
    assert "](guides/console.md)" in (tmp_path / "docs/changelog.md").read_text()


def test_only_links_outside_code_are_links() -> None:
    text = "[a](one.md) `[b](two.md)` [`c`](three.md#d)\n\n```python\n[e](four.md)\n```\n![f](five.png)\n"

    assert markdown.links_of(text) == ["one.md", "three.md#d", "five.png"]
    assert markdown.replace_links(text, lambda _: "x") == (
        "[a](x) `[b](two.md)` [`c`](x)\n\n```python\n[e](four.md)\n```\n![f](x)\n"
    )


def test_a_site_with_a_fault_is_not_accepted(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<a href="page.html#there">a</a><a href="page.html#gone">b</a><a href="lost.html">c</a>'
        '<script src="https://cdn.example/x.js"></script><a href="https://example.org/">d</a>'
    )
    (tmp_path / "page.html").write_text('<h2 id="there"></h2>')
    (tmp_path / "alone.html").write_text('<a href="index.html">e</a>')

    assert faults_of(tmp_path) == [
        "index.html: loads https://cdn.example/x.js from another site",
        "index.html: links to page.html#gone, which has no such anchor",
        "index.html: links to lost.html, which does not exist",
        "alone.html: no other page links to it",
    ]
