"""The order of the pages. A page that no section names is an error, so that every page can be reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from tests.house.site.api import PAGES

__all__ = ["GENERATED", "NAV", "SOURCES", "Section", "arrange", "pages_of"]

SOURCES: Final = "source/"
"""Below it are copies of files outside docs/ that pages link to. They are reached by those links alone."""


@dataclass(frozen=True, slots=True)
class Section:
    """A title with pages below it, or with sections."""

    title: str
    pages: tuple[str, ...] = ()
    """Paths below docs/, or patterns: a pattern stands for the pages that are named nowhere else, by name."""
    sections: tuple[Section, ...] = ()


_API: Final = tuple(f"reference/api/{page.name}.md" for page in PAGES)
_COMMANDS: Final = ("reference/commands/trellis-gen.md", "reference/commands/trellis.md")
GENERATED: Final = (*_API, *_COMMANDS)
"""Pages that the build writes from the sources."""
NAV: Final = (
    Section(
        "Start",
        (
            "index.md",
            "when-to-use.md",
            "start/install.md",
            "start/first-service.md",
            "start/*.md",
            "start/tutorial.md",
            "start/tour.md",
        ),
    ),
    Section(
        "Guides",
        sections=(
            Section(
                "Jobs",
                (
                    *("guides/jobs.md", "guides/web-apps.md", "guides/cron.md", "guides/importing.md"),
                    "guides/dead-jobs.md",
                ),
            ),
            Section(
                "Calls, events and data",
                (
                    *("guides/rpc.md", "guides/operations.md", "guides/events.md", "guides/feeds.md"),
                    *("guides/kv.md", "guides/stores.md", "guides/state.md"),
                    "guides/using-other-contracts.md",
                ),
            ),
            Section(
                "The contract",
                ("guides/generating.md", "guides/changing-a-contract.md", "guides/ci.md"),
            ),
            Section("Tests", ("guides/testing.md",)),
            Section(
                "In production",
                (
                    *("guides/deploying.md", "guides/nats-server.md", "guides/security.md"),
                    *("guides/control-plane.md", "guides/permissions.md", "guides/health.md"),
                    "guides/operating.md",
                    *("guides/tracing.md", "guides/metrics.md"),
                ),
            ),
            Section("More tasks", ("guides/*.md",)),
        ),
    ),
    Section("Operating", ("operate/README.md", "guides/console.md")),
    Section(
        "Reference",
        sections=(
            Section(
                "Contracts",
                (
                    *("reference/manifest.md", "reference/rules.md", "reference/schemas.md"),
                    *("reference/names.md", "reference/breaking*.md"),
                ),
            ),
            Section(
                "Commands",
                (
                    *_COMMANDS,
                    *("reference/cli.md", "reference/cli-json.md", "reference/filters.md"),
                    "reference/audit.md",
                ),
            ),
            Section("Python", ("reference/error*.md", *_API)),
            Section(
                "More",
                (
                    *("reference/errors.md", "reference/logs.md", "reference/heartbeats.md"),
                    *("reference/wire.md", "reference/*.md"),
                ),
            ),
        ),
    ),
    Section(
        "How it works",
        ("explanation/life-of-a-job.md", "guarantees.md", "keyed-concurrency.md", "explanation/*.md"),
        (Section("Decisions", ("decisions/*.md",)),),
    ),
    Section("Coming from", ("coming-from/*.md",)),
    Section("Compare", ("*.md", "comparison.md")),
    Section("Project", ("changelog.md", "contributing.md")),
)


def arrange(sections: Iterable[Section], pages: Iterable[str]) -> tuple[Section, ...]:
    """Return the sections with the pages that are there in place of patterns, without empty sections.

    Raises:
        ValueError: a section names a page that is not there, or no section has a page.
    """
    sections = tuple(sections)
    found = [page for page in sorted(pages) if not page.startswith(SOURCES)]
    stated = [page for page in pages_of(sections) if "*" not in page]
    if missing := [page for page in stated if page not in found]:
        raise ValueError(f"the navigation names pages that do not exist: {', '.join(missing)}")
    left = [page for page in found if page not in stated]
    arranged = _fill(sections, left)
    if left:
        raise ValueError(f"no section of tests/house/site/nav.py has {', '.join(left)}")
    return arranged


def pages_of(sections: Iterable[Section]) -> Iterator[str]:
    """Yield the pages of the sections in their order."""
    for section in sections:
        yield from section.pages
        yield from pages_of(section.sections)


def _fill(sections: Iterable[Section], left: list[str]) -> tuple[Section, ...]:
    filled: list[Section] = []
    for section in sections:
        pages: list[str] = []
        for pattern in section.pages:
            if "*" not in pattern:
                pages.append(pattern)
                continue
            depth = pattern.count("/")
            matching = [page for page in left if page.count("/") == depth and fnmatchcase(page, pattern)]
            left[:] = [page for page in left if page not in matching]
            pages += matching
        inner = _fill(section.sections, left)
        if pages or inner:
            filled.append(Section(section.title, tuple(pages), inner))
    return tuple(filled)
