"""No text of a contract can become code."""

import ast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trellis_codegen.render.filters import comment, docstring, inline, literal
from trellis_codegen.render.formatting import format_file

TEXTS = st.text(
    st.sampled_from(
        ['"', "'", "\\", "\n", "\r", "\t", " ", "a", "{", "}", "#", "\0", "\u202e", "\u2028", "ä"]
    )
)


def only_docstring(code: str) -> str:
    """Return the docstring of a module that must consist of nothing else."""
    (statement,) = ast.parse(code).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Constant)
    assert isinstance(statement.value.value, str)
    return statement.value.value


@given(TEXTS | st.text())
@example('"""')
@example('\\"')
@example('say "hi"')
@example("\\")
def test_a_docstring_holds_its_text_and_ends_where_it_should(text: str) -> None:
    said = only_docstring(format_file("x.py", f"{docstring(text)}\n"))

    assert said.split() == (text.split() or ["-"]) or not text.isprintable()


@given(TEXTS | st.text(), st.integers(1, 3))
def test_a_docstring_can_stand_anywhere(text: str, depth: int) -> None:
    blocks = "".join(f"{' ' * 4 * level}class X:\n" for level in range(depth))

    ast.parse(f"{blocks}{' ' * 4 * depth}{docstring(text, 4 * depth)}\n")


@given(TEXTS | st.text())
def test_a_literal_is_its_text(text: str) -> None:
    assert ast.literal_eval(literal(text)) == text


@given(TEXTS | st.text())
def test_a_text_inside_a_docstring_stays_inside(text: str) -> None:
    only_docstring(f'"""The jobs of {inline(text)}."""\n')


@given(TEXTS | st.text())
def test_a_comment_stays_on_its_line(text: str) -> None:
    assert ast.parse(f"# {comment(text)}\n").body == []


def test_a_long_paragraph_is_wrapped_and_markdown_is_not() -> None:
    words = "word " * 40

    lines = docstring(f"Short.\n\n{words}\n\n    {words}\n- {words}", 4).splitlines()

    assert [len(line) > 110 for line in lines] == [False, False, False, False, False, True, True, False]


@pytest.mark.parametrize("text", ["", "  \n "])
def test_no_words_make_a_docstring_all_the_same(text: str) -> None:
    assert only_docstring(docstring(text)) == "-"
