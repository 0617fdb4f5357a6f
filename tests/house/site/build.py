"""Builds the site: `python -m tests.house.site.build`, which is `make docs`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.house.site.api import reference_pages
from tests.house.site.check import faults_of
from tests.house.site.commands import command_pages
from tests.house.site.llms import llms_text
from tests.house.site.nav import NAV, Section, arrange
from tests.house.site.stage import stage
from tests.house.sources import ROOT

__all__ = ["build"]

SITE: Final = ROOT / "site"
WORK: Final = ROOT / "build/site"
"""The pages and the configuration that the tool reads."""
_SLUGS: Final = "the slugs of GitHub"
_CONFIGURATION: Final = {
    "site_name": "Trellis for Python",
    "docs_dir": "docs",
    "site_dir": "html",
    # A file of its own for each page works from a folder and from a server.
    "use_directory_urls": False,
    "theme": {
        "name": "material",
        "font": False,  # fonts of the reader's machine: others would be fetched
        "features": [
            "navigation.tabs",
            "navigation.top",
            "content.code.copy",
            "search.highlight",
            "toc.follow",
        ],
        "palette": [
            {
                "media": "(prefers-color-scheme: light)",
                "scheme": "default",
                "toggle": {"icon": "material/weather-sunny", "name": "Dark"},
            },
            {
                "media": "(prefers-color-scheme: dark)",
                "scheme": "slate",
                "toggle": {"icon": "material/weather-night", "name": "Light"},
            },
        ],
    },
    "extra_css": ["site.css"],
    "plugins": ["search"],
    "markdown_extensions": [
        "attr_list",
        "md_in_html",
        "tables",
        "pymdownx.highlight",
        "pymdownx.superfences",
        {"toc": {"permalink": True, "slugify": _SLUGS}},
    ],
}

_STYLE: Final = """\
.md-grid { max-width: 76rem; }
.md-typeset td:first-child code { word-break: normal; overflow-wrap: normal; white-space: nowrap; }
.md-typeset td:not(:first-child) code { word-break: normal; overflow-wrap: anywhere; }
@media (max-width: 44em) { .md-typeset td:not(:first-child) { min-width: 10em; } }
"""
"""Tables have room; a name in their first column is not broken, and on a phone no column is narrow: the table scrolls."""


def build() -> list[str]:
    """Build the site into site/ and return what is wrong with it."""
    docs = WORK / "docs"
    sections = arrange(NAV, stage(docs, reference_pages() | command_pages()))
    (docs / "site.css").write_text(_STYLE, encoding="utf-8")
    nav = [_entry(section) for section in sections]
    # JSON is YAML, but for the one value that only a tag of YAML can state.
    slugs = '!!python/object/apply:pymdownx.slugs.slugify {"kwds": {"case": "lower"}}'
    text = json.dumps({**_CONFIGURATION, "nav": nav}, indent=1).replace(json.dumps(_SLUGS), slugs)
    (WORK / "mkdocs.yml").write_text(text, encoding="utf-8")
    command = [
        str(Path(sys.executable).with_name("zensical")),
        "build",
        "--strict",
        "--clean",
        "--config-file",
        "mkdocs.yml",
    ]
    run = subprocess.run(command, cwd=WORK, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        return [run.stdout + run.stderr]
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.move(WORK / "html", SITE)
    # The Markdown of each page, for tools that read rather than look, and the list of all.
    shutil.copytree(docs, SITE, ignore=shutil.ignore_patterns("*.png"), dirs_exist_ok=True)
    (SITE / "llms.txt").write_text(llms_text(sections, docs), encoding="utf-8")
    return faults_of(SITE)


def _entry(section: Section) -> dict[str, list[object]]:
    return {section.title: [*section.pages, *(_entry(inner) for inner in section.sections)]}


if __name__ == "__main__":
    if found := build():
        sys.exit("\n".join(found))
    print(f"site/index.html: {sum(1 for _ in SITE.rglob('*.html'))} pages")  # noqa: T201 - the result of the command
