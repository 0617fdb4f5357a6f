"""How drift is shown."""

from pathlib import Path

from trellis_codegen.output.drift import Change, Drift, render_diff


def test_a_diff_has_the_paths_that_its_reader_can_open() -> None:
    drift = Drift(name="jobs.py", change=Change.CHANGED, old="a\n", new="b\n")

    assert [*render_diff(Path("src/p"), [drift])] == [
        "--- src/p/jobs.py",
        "+++ src/p/jobs.py",
        "@@ -1 +1 @@",
        "-a",
        "+b",
    ]
