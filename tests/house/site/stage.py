"""Copies the pages into one folder, with links that lead outside docs/ changed so that they work within the site."""

from __future__ import annotations

import posixpath
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.house.site import markdown
from tests.house.site.nav import SOURCES
from tests.house.sources import ROOT

__all__ = ["DOCS", "link_target", "pages", "stage"]

DOCS: Final = ROOT / "docs"
_OUTSIDE: Final = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Pages that stand at the root of the repository, and their place in the site."""
_NOT_SEARCHED: Final = "---\nsearch:\n  exclude: true\n---\n\n"
"""Front matter: the changelog names every word of the guides, and would stand between them in the search."""
_HOME: Final = {"README.md": "index.md"}
_LANGUAGES: Final = {
    ".py": "python",
    ".json": "json",
    ".toml": "toml",
    ".yml": "yaml",
    ".yaml": "yaml",
    ".sh": "sh",
}


def pages() -> dict[str, Path]:
    """Return the files of the pages by their path in the site."""
    found = {path.relative_to(DOCS).as_posix(): path for path in sorted(DOCS.rglob("*.md"))}
    return found | {staged: ROOT / name for name, staged in _OUTSIDE.items()}


def link_target(page: Path, target: str) -> tuple[Path, str]:
    """Return the file that a relative link of a page leads to, and its anchor."""
    path, _, anchor = target.partition("#")
    return (Path(posixpath.normpath(page.parent / path)) if path else page), anchor


def stage(folder: Path, generated: dict[str, str]) -> set[str]:
    """Write all pages into the folder, the generated ones too, and return their paths in it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DOCS, folder, ignore=shutil.ignore_patterns("*.md"))
    waiting: dict[str, Path] = {}
    texts = dict(generated)
    for staged, path in pages().items():
        texts[staged] = _with_site_links(path, staged, path.read_text(encoding="utf-8"), waiting)
    texts[_OUTSIDE["CHANGELOG.md"]] = _NOT_SEARCHED + texts[_OUTSIDE["CHANGELOG.md"]]
    while waiting:
        staged, path = waiting.popitem()
        if staged not in texts:
            texts[staged] = _source_page(path, staged, waiting)
    for staged, text in texts.items():
        target = folder / staged
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return set(texts)


def _with_site_links(page: Path, staged: str, text: str, waiting: dict[str, Path]) -> str:
    def change(target: str) -> str:
        if markdown.is_external(target) or target.startswith("#"):
            return target
        path, anchor = link_target(page, target)
        inside = _staged_path(path)
        if inside.startswith(SOURCES):
            waiting[inside] = path
        relative = posixpath.relpath(inside, posixpath.dirname(staged) or ".")
        return f"{relative}#{anchor}" if anchor else relative

    return markdown.replace_links(text, change)


def _staged_path(path: Path) -> str:
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    name = path.relative_to(ROOT).as_posix()
    if name in _OUTSIDE | _HOME:
        return (_OUTSIDE | _HOME)[name]
    return f"{SOURCES}{name}/index.md" if path.is_dir() else f"{SOURCES}{name}.md"


def _source_page(path: Path, staged: str, waiting: dict[str, Path]) -> str:
    """Return a page that shows a file, or lists a folder."""
    name = path.relative_to(ROOT).as_posix()
    if not path.exists():
        raise ValueError(f"a page links to {name}, which does not exist")
    if path.is_dir():
        return f"# `{name}/`\n\n" + "".join(_listing(path, staged, waiting))
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return _with_site_links(path, staged, text, waiting)
    return f"# `{name}`\n\n~~~~~{_LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n~~~~~\n"


def _listing(folder: Path, staged: str, waiting: dict[str, Path]) -> Iterator[str]:
    for path in sorted(folder.iterdir()):
        if path.suffix in _LANGUAGES or path.suffix == ".md":
            waiting[_staged_path(path)] = path
            relative = posixpath.relpath(_staged_path(path), posixpath.dirname(staged))
            yield f"- [`{path.name}`]({relative})\n"
        elif path.is_dir() and not path.name.startswith(("_", ".")):
            yield f"- `{path.name}/`\n"
