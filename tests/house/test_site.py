"""The pages of the documentation can all be reached, and their links lead somewhere, in the repository and in the site."""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import griffe
import pytest
import typer
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import DELAYED_STREAM, STREAM, WORK_STREAM
from typer.main import get_command

from tests.house.site import markdown
from tests.house.site.api import Page, page_text
from tests.house.site.check import faults_of
from tests.house.site.commands import command_page
from tests.house.site.llms import llms_text
from tests.house.site.nav import GENERATED, NAV, Section, arrange, pages_of
from tests.house.site.stage import link_target, pages, stage
from tests.house.sources import ROOT

READ = [*pages().values(), ROOT / "README.md", ROOT / "examples/README.md"]
"""Those that a reader of the repository opens."""

SOURCE = '''
class Base:
    def close(self) -> None:
        """Close it."""

class Queue(Base):
    """A queue."""

    size: int = 0
    """How many."""

    async def put(self, *values: str, wait: bool = False) -> Ref:
        """Put values.

        Args:
            wait: until there
                is room.

        Raises:
            Full: no room.
            OSError: else.
        """

    def _hidden(self): ...
'''
DOCUMENTED = """# Queues

They queue. Import these names from `m`.

[`Queue`](#queue)

## Queue {#queue}

```python
class Queue(Base)
```

A queue.

- `size: int`: How many.

### put {#queue.put}

```python
async def put(*values: str, wait: bool = False) -> Ref
```

Put values.

**Arguments**

- `wait`: until there is room.

**Raises**

- [`Full`](errors.md#full): no room.
- `OSError`: else.
"""


def test_the_navigation_has_every_page_once() -> None:
    written = [*pages(), *GENERATED]

    assert Counter(pages_of(arrange(NAV, written))) == Counter(written)


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


def test_the_list_for_language_models_has_title_address_and_first_sentence(tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text(
        "# Trellis\n\n```python\nx. y\n```\n\nreturns. It.\n\n- One.\n\nTyped *jobs*. More.\n"
    )
    (tmp_path / "why.md").write_text("# `why`\n\n**Context.** [`[[It]]`](index.md) broke at night: twice.\n")

    assert llms_text((Section("Start", ("index.md", "why.md")),), tmp_path) == (
        "# Trellis\n\n> Typed jobs.\n\n## Start\n\n"
        "- [Trellis](index.md): Typed jobs.\n- [why](why.md): [[It]] broke at night.\n"
    )


def test_the_reference_of_python_has_signatures_docstrings_and_links_to_errors(tmp_path: Path) -> None:
    module = griffe.visit(
        "m",
        filepath=tmp_path / "m.py",
        code=SOURCE,
        docstring_parser="google",
        modules_collection=griffe.ModulesCollection(),
    )
    queue = module["Queue"]

    page = page_text(Page("q", "Queues", "They queue.", "m"), {"Queue": queue}, {"Full"}, {"Queue"})

    assert page == DOCUMENTED


def test_the_page_of_a_program_has_its_commands_arguments_and_options() -> None:
    program = typer.Typer(add_completion=False)

    @program.command()
    def copy(  # pyright: ignore[reportUnusedFunction] # typer calls it
        source: Annotated[Path, typer.Argument(help="What to copy.")],
        _times: Annotated[int, typer.Option("--times", "-t", metavar="N", help="How often | at most.")] = 3,
    ) -> None:
        """Copy a file."""

    assert command_page("cp", "It copies.", {"cp copy": get_command(program)}) == (
        "# `cp`: commands and options\n\nIt copies.\n\n## `cp copy`\n\n"
        "```text\ncp copy SOURCE [OPTIONS]\n```\n\nCopy a file.\n\n| | what | default |\n|---|---|---|\n"
        "| `SOURCE` | What to copy. |  |\n| `--times, -t N` | How often \\| at most. | `3` |\n"
    )


def test_the_wire_reference_names_every_event_and_every_stream() -> None:
    page = (ROOT / "docs/reference/wire.md").read_text()

    assert [event for event in EventType if f"`{event.value}`" not in page] == []
    assert [name for name in (STREAM, WORK_STREAM, DELAYED_STREAM) if f"| `{name}` |" not in page] == []
    for body in re.findall(r"```json\n(.*?)```", page, re.DOTALL):
        if LifecycleEvent.parse(body.encode()) is not None:
            break
    else:
        pytest.fail("no example is an event of a job")
