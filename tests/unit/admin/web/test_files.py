"""The stylesheet, the icons and the templates of the console."""

import re
from pathlib import Path

import pytest
import trellis_admin.web
from trellis_admin.web.rendering import make_environment

WEB = Path(trellis_admin.web.__file__).parent
STYLE = (WEB / "static/console.css").read_text()
SCRIPT = (WEB / "static/console.js").read_text()
TEMPLATES = sorted((WEB / "templates").glob("*.html"))


def declarations(block: str) -> dict[str, str]:
    return dict(re.findall(r"(--[\w-]+|color-scheme):\s*([^;]+);", block))


def test_both_dark_blocks_are_the_same() -> None:
    by_system = re.search(r":root:not\(\[data-theme=\"light\"\]\) \{(.*?)\}", STYLE, re.DOTALL)
    by_choice = re.search(r":root\[data-theme=\"dark\"\] \{(.*?)\}", STYLE, re.DOTALL)

    assert by_system is not None
    assert by_choice is not None
    assert declarations(by_system[1]) == declarations(by_choice[1])
    assert len(declarations(by_choice[1])) > 40


def test_every_colour_has_a_dark_value() -> None:
    light = re.search(r"^:root \{(.*?)^\}", STYLE, re.DOTALL | re.MULTILINE)
    dark = re.search(r":root\[data-theme=\"dark\"\] \{(.*?)\}", STYLE, re.DOTALL)
    assert light is not None
    assert dark is not None
    colours = {name for name, value in declarations(light[1]).items() if value.startswith(("#", "rgb"))}

    assert colours - declarations(dark[1]).keys() == set()


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_obeys_the_policy(template: Path) -> None:
    text = template.read_text()

    assert re.search(r"\sstyle=", text) is None
    assert re.search(r"\son[a-z]+=", text) is None
    assert re.search(r"<script(?![^>]*\ssrc=)", text) is None
    assert re.search(r"(?:href|src|action)=\"(?:https?:)?//", text) is None
    assert "|safe" not in text.replace(" ", "")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_can_be_compiled_and_uses_the_words_of_the_house(template: Path) -> None:
    make_environment().get_template(template.name)

    assert (
        re.search(
            r"\b(tries|try|Try|Tries)\b", template.read_text().replace(".tries", "").replace("max_tries", "")
        )
        is None
    )


def test_every_icon_is_drawn() -> None:
    known = set(re.findall(r'<symbol id="i-([\w-]+)"', (WEB / "icons.svg").read_text()))
    named = {
        name
        for path in TEMPLATES
        for name in re.findall(r'icon\("([\w-]+)"', path.read_text())
        if name != "s-"
    }

    assert named
    assert named <= known


def test_neither_file_needs_the_network() -> None:
    assert "url(" not in STYLE.replace("url(#", "")
    assert "@import" not in STYLE
    assert re.search(r"https?://", SCRIPT + STYLE) is None
    assert re.search(r"innerHTML\s*\+?=[^=]", SCRIPT) is None
    assert "eval(" not in SCRIPT


def test_the_package_has_every_file() -> None:
    assert len(TEMPLATES) >= 15
    assert (WEB / "static/icon.svg").is_file()
