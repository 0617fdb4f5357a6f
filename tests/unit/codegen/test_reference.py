"""The reference names every keyword, and says of each what the generator does."""

from pathlib import Path

from trellis_codegen.schemas.keywords import CONSTRAINTS, ENFORCED_FORMATS, STRUCTURAL

TEXT = (Path(__file__).parents[3] / "docs" / "reference" / "schemas.md").read_text()


def test_every_enforced_keyword_and_format_is_in_the_reference() -> None:
    enforced = TEXT.partition("## Not enforced")[0]

    assert [
        each for each in sorted(STRUCTURAL | CONSTRAINTS | ENFORCED_FORMATS) if f"`{each}`" not in enforced
    ] == []
