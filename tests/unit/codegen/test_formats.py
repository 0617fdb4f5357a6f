"""Problems and results in every format: for people, for scripts, for GitHub and for code scanning."""

import io
import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest
from pydantic import JsonValue

from tests.unit.codegen.contracts import contract, job
from tests.unit.codegen.sarif_schema import SARIF
from trellis_codegen.cli import facade
from trellis_codegen.cli.excerpts import cut_excerpt
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.findings import Findings
from trellis_codegen.cli.formats.github import annotate_problem
from trellis_codegen.cli.formats.plain import format_diff_line, format_problem
from trellis_codegen.cli.requests import Format, Mode, Request
from trellis_codegen.cli.targets import Choices
from trellis_codegen.problems import Problem, json_pointer

BROKEN = contract(jobs={"keep": job("Thign"), "lose": job(maxDelivers=3)})


def run(
    manifest: Path, document: JsonValue, form: Format, *, mode: Mode = Mode.WRITE, quiet: bool = False
) -> ExitCode:
    manifest.write_text(json.dumps(document, indent=2))
    choices = Choices(manifest=manifest, out=manifest.parent)
    return facade.run(Request(choices=choices, mode=mode, format=form, quiet=quiet))


def test_a_problem_is_shown_with_its_line_a_caret_its_pointer_and_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "x.json"

    assert run(manifest, BROKEN, Format.TEXT) == ExitCode.INVALID

    assert capsys.readouterr().err.splitlines()[:4] == [
        f'{manifest}:23:19: error[unknown-schema]: jobs/keep/payload: no schema named "Thign"',
        '   23 |         "schema": "Thign"',
        "      |                   ^^^^^^^ /jobs/keep/payload/schema",
        '    hint: did you mean "Thing"?',
    ]


def test_what_was_not_checked_is_named_in_each_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A queue whose payload has a wrong type hides what else is wrong in it, and no other part does."""
    manifest = tmp_path / "x.json"
    broken = contract(jobs={"keep": {**job(), "payload": 1}, "lose": job("Thign")})
    said = f"{manifest}: jobs/keep was not checked further, because of its errors; correct them, and run the command again"

    run(manifest, broken, Format.TEXT)
    text = capsys.readouterr().err
    run(manifest, broken, Format.JSON)
    document = json.loads(capsys.readouterr().out)
    run(manifest, broken, Format.SARIF)
    (log,) = json.loads(capsys.readouterr().out)["runs"]

    assert said in text.splitlines()
    assert "more: trellis-gen explain wrong-type unknown-schema" in text
    assert document["unchecked"] == [
        {"file": manifest.as_posix(), "pointer": "/jobs/keep", "place": "jobs/keep"}
    ]
    (invocation,) = log["invocations"]
    assert invocation["toolExecutionNotifications"] == [{"level": "note", "message": {"text": said}}]


def test_json_is_one_document_with_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "x.json"

    assert run(manifest, BROKEN, Format.JSON) == ExitCode.INVALID

    output = capsys.readouterr()
    assert output.err == ""
    document = json.loads(output.out)
    assert (document["version"], document["packages"], document["refusals"]) == (1, [], [])
    assert document["problems"][0] == {
        "file": manifest.as_posix(),
        "line": 23,
        "column": 19,
        "endColumn": 26,
        "pointer": "/jobs/keep/payload/schema",
        "place": "jobs/keep/payload",
        "severity": "error",
        "rule": "unknown-schema",
        "message": 'no schema named "Thign"',
        "hint": 'did you mean "Thing"?',
    }
    assert [each["severity"] for each in document["problems"]] == ["error", "warning"]


def test_json_of_a_check_names_every_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "x.json"
    run(manifest, contract(jobs={"keep": job()}), Format.TEXT)

    assert run(manifest, contract(), Format.JSON, mode=Mode.CHECK) == ExitCode.DRIFT

    (package,) = json.loads(capsys.readouterr().out)["packages"]
    assert (package["package"], package["fresh"], package["written"]) == ("things_participant", False, False)
    assert {"file": "jobs.py", "change": "stale", "edited": False} in package["changes"]


@pytest.mark.parametrize("document", [BROKEN, contract(), contract(id=3), []])
@pytest.mark.parametrize("mode", [Mode.CHECK, Mode.PREVIEW])
def test_sarif_is_valid_sarif(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], document: JsonValue, mode: Mode
) -> None:
    run(tmp_path / "x y.json", document, Format.SARIF, mode=mode)

    log = json.loads(capsys.readouterr().out)
    jsonschema.validate(log, SARIF)
    (only,) = log["runs"]
    assert {each["ruleId"] for each in only["results"]} <= {
        each["id"] for each in only["tool"]["driver"]["rules"]
    }
    for result in only["results"]:
        assert " " not in result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]


def test_sarif_of_a_refusal_is_valid_sarif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = Request(choices=Choices(manifest=tmp_path / "none.json"), format=Format.SARIF)

    assert facade.run(request) == ExitCode.USAGE

    log = json.loads(capsys.readouterr().out)
    jsonschema.validate(log, SARIF)
    assert log["runs"][0]["results"] == []
    (invocation,) = log["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is False
    assert "no such file" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_annotations_have_the_position_of_their_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "x.json", BROKEN, Format.GITHUB)

    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(
        f"::error file={tmp_path}/x.json,line=23,endLine=23,col=19,endColumn=26,title=unknown-schema%3A jobs/"
    )
    assert first.endswith('::no schema named "Thign"%0Ahint: did you mean "Thing"?')
    assert second.startswith("::warning ")


def test_drift_is_an_annotation_for_each_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "x.json", contract(), Format.GITHUB, mode=Mode.CHECK) == ExitCode.DRIFT

    commands = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::error ")]
    assert any("title=things_participant::service.py is missing;" in line for line in commands)


def test_no_text_of_a_contract_becomes_a_workflow_command() -> None:
    problem = Problem(
        rule="x", pointer=("a,b:c\n::set-env",), what="x\n::stop-commands::y%", line=1, column=1
    )

    line = annotate_problem(Findings(file="a,b.json", text="{}"), problem)

    assert "\n" not in line
    assert line.startswith("::error ")
    assert "file=a%2Cb.json" in line


def test_no_text_of_a_contract_moves_the_cursor() -> None:
    text = '{"a\x1b[2J": "\u202e\x07"}'
    problem = Problem(rule="x", pointer=("a\x1b[2J",), what="\x1b]0;x\x07", hint="\r\n\x1b", line=1, column=2)

    shown = format_problem(Findings(file="x\x1b.json", text=text), problem, colour=False)
    diff = format_diff_line("+\x1b[2J\u202ex\ty", colour=False)

    assert all(line.isprintable() for line in shown.split("\n"))
    assert diff.replace("\t", "").isprintable()


def test_warnings_are_left_out_when_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "x.json"

    assert run(manifest, contract(future=1), Format.TEXT, quiet=True) == ExitCode.OK
    assert capsys.readouterr() == ("", "")
    assert run(manifest, BROKEN, Format.TEXT, quiet=True) == ExitCode.INVALID
    assert "warning[" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False)],
)
def test_colours_are_for_terminals_whose_users_want_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stderr", terminal)

    run(tmp_path / "x.json", BROKEN, Format.TEXT)

    assert ("\x1b[" in terminal.getvalue()) is coloured


@pytest.mark.parametrize(
    ("text", "line", "column", "shown", "caret"),
    [
        ('{"a": "b"}', 1, 7, '{"a": "b"}', "      ^^^"),
        ("{\n\t12,\r\n}", 2, 2, " 12,", " ^^"),
        ('{"名": 1}', 1, 7, '{"名": 1}', "       ^"),
        ("x" * 300, 1, 200, f"…{'x' * 100}…", " " * 41 + "^" * 60),
        ('"unterminated', 1, 1, '"unterminated', "^" * 13),
    ],
)
def test_the_caret_is_below_its_token(text: str, line: int, column: int, shown: str, caret: str) -> None:
    found = cut_excerpt(text, line, column)

    assert found is not None
    assert (found.line, found.caret) == (shown, caret)


@pytest.mark.parametrize(("line", "column"), [(9, 1), (1, 99), (2, 1)])
def test_a_position_outside_the_text_has_no_excerpt(line: int, column: int) -> None:
    assert cut_excerpt("{}\n\n", line, column) is None


def test_a_pointer_is_written_as_the_standard_says() -> None:
    assert json_pointer(("a/b", 0, "m~n", "")) == "/a~1b/0/m~0n/"
    assert json_pointer(()) == ""
